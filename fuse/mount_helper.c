// SPDX-License-Identifier: GPL-2.0-or-later
#include "mount_helper.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

bool cmfs_is_mount_helper(const char *name)
{
	return name && (strcmp(base_name(name), "mount.cmfs") == 0 ||
			strcmp(base_name(name), "mount.fuse.cmfs") == 0);
}

struct parser {
	struct cmfs_mount_helper *helper;
	char *spec, *dir;
};

static int add_place(struct parser *p, char *argument, struct cmfs_err *err)
{
	char **place = !p->spec ? &p->spec : !p->dir ? &p->dir : NULL;

	if (!place)
		return cmfs_err_set(err, -EINVAL,
				    "%s: one image and one directory are given already "
				    "(several images: cmfs IMAGE... MOUNTPOINT)",
				    argument);
	*place = argument;
	return 0;
}

static int check_type(const char *type, struct cmfs_err *err)
{
	if (strcmp(type, "cmfs") == 0 || strcmp(type, "fuse.cmfs") == 0)
		return 0;
	return cmfs_err_set(err, -EINVAL, "type %s: it is cmfs or fuse.cmfs", type);
}

/* @letter: as getopt gives it; 1 is an argument without one. */
static int apply(struct parser *p, int letter, char *value, struct cmfs_err *err)
{
	switch (letter) {
	case 1:
		return add_place(p, value, err);
	case 'o':
		p->helper->argv[p->helper->argc++] = "-o";
		p->helper->argv[p->helper->argc++] = value;
		return 0;
	case 'f':
		p->helper->fake = true;
		return 0;
	case 'v':
		p->helper->verbose = true;
		return 0;
	case 'n': /* there is no mtab to leave alone */
	case 's': /* an option that does nothing would be a weaker mode, silently (P10) */
		return 0;
	case 't':
		return check_type(value, err);
	case 'N':
		return cmfs_err_set(err, -EINVAL,
				    "-N %s: cmfs cannot mount into another namespace; nsenter "
				    "--mount=FILE mount ... does",
				    value);
	case ':':
		return cmfs_err_set(err, -EINVAL, "option '-%c' needs a value", optopt);
	default:
		return cmfs_err_set(err, -EINVAL, "unknown option '-%c' of a mount helper", optopt);
	}
}

int cmfs_mount_helper_parse(int argc, char **argv, struct cmfs_mount_helper *ret,
			    struct cmfs_err *err)
{
	struct parser p = { .helper = ret };
	int letter, r = 0;

	*ret = (struct cmfs_mount_helper){ .argv = calloc(2 * argc + 5, sizeof(char *)) };
	if (!ret->argv)
		return cmfs_err_set(err, -ENOMEM, "out of memory");
	ret->argv[ret->argc++] = "cmfs";
	opterr = 0;
	/* '-': options may stand behind arguments, whatever POSIXLY_CORRECT says. */
	while (r == 0 && (letter = getopt(argc, argv, "-:sfnvN:t:o:")) != -1)
		r = apply(&p, letter, optarg, err);
	while (r == 0 && optind < argc) /* behind "--" */
		r = add_place(&p, argv[optind++], err);
	optind = 0;
	if (r == 0 && !p.dir)
		r = cmfs_err_set(err, -EINVAL,
				 "an image and a directory are needed (mount -t cmfs IMAGE "
				 "MOUNTPOINT)");
	if (r < 0)
		return r;
	ret->argv[ret->argc++] = "--";
	ret->argv[ret->argc++] = p.spec;
	ret->argv[ret->argc++] = p.dir;
	return 0;
}

void cmfs_mount_helper_finish(struct cmfs_mount_helper *helper)
{
	free(helper->argv);
	helper->argv = NULL;
}

void cmfs_mount_helper_print(const struct cmfs_mount_helper *helper, FILE *out)
{
	for (int i = 0; i < helper->argc; i++)
		fprintf(out, "%s%s", i ? " " : "", helper->argv[i]);
	fputc('\n', out);
	fflush(out); /* the daemon goes on without it */
}
