// SPDX-License-Identifier: GPL-2.0-or-later
#include "qemu_nbd_command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cmfs_qemu_nbd_finish_command(struct cmfs_qemu_nbd_command *c)
{
	for (size_t i = 0; i < c->count; i++)
		free(c->args[i]);
}

/* Takes @arg over; NULL for lack of memory is found at the end. */
static char *add(struct cmfs_qemu_nbd_command *c, char *arg)
{
	return c->args[c->count++] = arg;
}

static char *printed(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static char *printed(const char *fmt, ...)
{
	char *text;
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = vasprintf(&text, fmt, ap);
	va_end(ap);
	return r < 0 ? NULL : text;
}

/* In QEMU's option lists a comma in a value is doubled. */
static char *escaped(const char *value)
{
	char *ret = malloc(2 * strlen(value) + 1), *out = ret;

	for (; ret && *value; value++) {
		if (*value == ',')
			*out++ = ',';
		*out++ = *value;
	}
	if (ret)
		*out = '\0';
	return ret;
}

/* How a format's driver calls the option for its passphrase, if it has one. */
static const char *const key_options[CMFS_FORMATS] = {
	[CMFS_FORMAT_QCOW2] = ",encrypt.key-secret=key",
	[CMFS_FORMAT_QCOW] = ",encrypt.key-secret=key",
	[CMFS_FORMAT_LUKS] = ",key-secret=key",
};

static char *image_options(const struct cmfs_qemu_nbd_spec *spec)
{
	static const char *const locking[] = {
		[CMFS_LOCKING_AUTO] = "auto",
		[CMFS_LOCKING_ON] = "on",
		[CMFS_LOCKING_OFF] = "off",
	};
	const char *key = spec->key_file ? key_options[spec->format] : "";
	char *path = escaped(spec->path), *ret = NULL;

	if (path)
		ret = printed("driver=%s,file.driver=%s,file.filename=%s,file.locking=%s%s",
			      cmfs_format_names[spec->format],
			      spec->block_device ? "host_device" : "file", path,
			      locking[spec->host.locking], key);
	free(path);
	return ret;
}

int cmfs_qemu_nbd_make_command(const struct cmfs_qemu_nbd_spec *spec,
			       const struct cmfs_open_how *how, struct cmfs_qemu_nbd_command *c)
{
	static const char *const aio[] = {
		[CMFS_AIO_THREADS] = "threads",
		[CMFS_AIO_NATIVE] = "native",
		[CMFS_AIO_IO_URING] = "io_uring",
	};
	/* No mode goes with it (cmfs_image_check_aio()), but the first look at which one it is. */
	bool not_yet = spec->host.aio == CMFS_AIO_NATIVE && !how->direct;

	*c = (struct cmfs_qemu_nbd_command){ .count = 0 };
	add(c, strdup(CMFS_QEMU_NBD));
	add(c, strdup("--shared=0")); /* any number of connections */
	add(c, printed("--cache=%s", how->direct ? "none" : "writeback"));
	add(c, printed("--aio=%s", aio[not_yet ? CMFS_AIO_THREADS : spec->host.aio]));
	add(c, strdup("--discard=unmap"));
	if (how->readonly)
		add(c, strdup("--read-only"));
	if (spec->key_file) {
		char *file = escaped(spec->key_file);

		add(c, strdup("--object"));
		add(c, file ? printed("secret,id=key,file=%s", file) : NULL);
		free(file);
	}
	add(c, strdup("--image-opts"));
	c->image = add(c, image_options(spec));
	for (size_t i = 0; i < c->count; i++) {
		if (!c->args[i])
			return -ENOMEM;
	}
	return 0;
}
