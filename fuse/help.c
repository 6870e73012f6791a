// SPDX-License-Identifier: GPL-2.0-or-later
/* The --help text and the words of --completions, made of the tables. */
#include "mount_options.h"
#include "options.h"

#include <string.h>

static void print_row(FILE *out, const char *label, const char *help)
{
	const int indent = 26, width = 78;
	int column = fprintf(out, "  %-*s", indent - 2, label);

	while (*help) {
		int word = (int)strcspn(help, " ");

		if (column > indent && column + 1 + word > width) {
			fprintf(out, "\n%*s", indent, "");
			column = indent;
		}
		column += fprintf(out, "%s%.*s", column > indent ? " " : "", word, help);
		help += word + (help[word] == ' ');
	}
	fputc('\n', out);
}

static void print_kind(FILE *out, const char *label, enum cmfs_option_kind kind)
{
	const struct cmfs_mount_option *row;
	char names[1024] = "";

	for (size_t i = 0; (row = cmfs_mount_option(i)); i++) {
		size_t n = strlen(names);

		if (row->kind == kind && !row->help)
			snprintf(names + n, sizeof(names) - n, "%s%s%s%s", n ? ", " : "", row->name,
				 row->arg ? "=" : "", row->arg ? row->arg : "");
	}
	print_row(out, label, names);
}

static void print_option(FILE *out, const char *name, const char *arg, const char *help)
{
	char label[64];

	snprintf(label, sizeof(label), "%s%s%s", name, arg ? "=" : "", arg ? arg : "");
	print_row(out, label, help);
}

static void print_flag(FILE *out, const struct cmfs_flag *f)
{
	char label[64], letter[4] = "";

	if (f->letter <= 'z')
		snprintf(letter, sizeof(letter), "-%c", f->letter);
	snprintf(label, sizeof(label), "%s%s%s%s%s%s", letter, letter[0] && f->word ? ", " : "",
		 f->word ? "--" : "", f->word ? f->word : "", f->arg ? " " : "",
		 f->arg ? f->arg : "");
	print_row(out, label, f->help);
}

void cmfs_options_help(FILE *out)
{
	const struct cmfs_mount_option *row;
	const struct cmfs_image_key *key;
	const struct cmfs_flag *f;

	fprintf(out, "usage: cmfs [options] IMAGE... MOUNTPOINT\n"
		     "       cmfs [options] --drive file=IMAGE[,KEY=VALUE...]... MOUNTPOINT\n"
		     "Show disk images as files under MOUNTPOINT, with a cache mode each;\n"
		     "or one at MOUNTPOINT, if that is a file, as in cmfs disk.img disk.img\n\n");
	for (size_t i = 0; (f = cmfs_flag(i)); i++)
		print_flag(out, f);
	fprintf(out, "\nkeys of an image (--drive; -o KEY=VALUE is for all that do not say "
		     "otherwise):\n");
	for (size_t i = 0; (key = cmfs_image_key(i)); i++)
		print_option(out, key->name, key->arg, key->help);
	fprintf(out, "\nmount options (-o):\n");
	for (size_t i = 0; (row = cmfs_mount_option(i)); i++) {
		if (row->help)
			print_option(out, row->name, row->arg, row->help);
	}
	print_kind(out, "to libfuse:", CMFS_OPTION_FUSE);
	print_kind(out, "ignored:", CMFS_OPTION_IGNORE);
	fprintf(out, "\nSee cmfs(1), cmfs-cache(7).\n");
}

/* ---- words for a shell ---- */

static void print_words(FILE *out, const char *kind, const char *name, const char *arg,
			const char *const *words)
{
	fprintf(out, "%s %s%s%s", kind, name, arg ? " " : "", arg ? arg : "");
	for (; words && *words; words++)
		fprintf(out, " %s", *words);
	fputc('\n', out);
}

void cmfs_options_completions(FILE *out)
{
	const struct cmfs_mount_option *row;
	const struct cmfs_image_key *key;
	const struct cmfs_flag *f;
	char name[64];

	for (size_t i = 0; (f = cmfs_flag(i)); i++) {
		snprintf(name, sizeof(name), "-%c", f->letter);
		if (f->letter <= 'z')
			print_words(out, "flag", name, f->arg, NULL);
		snprintf(name, sizeof(name), "--%s", f->word);
		if (f->word)
			print_words(out, "flag", name, f->arg, NULL);
	}
	for (size_t i = 0; (key = cmfs_image_key(i)); i++)
		print_words(out, key->of_one ? "key-of-one" : "key", key->name, key->arg,
			    cmfs_image_key_words(i));
	for (size_t i = 0; (row = cmfs_mount_option(i)); i++) {
		if (row->help || row->kind == CMFS_OPTION_FUSE)
			print_words(out, "option", row->name, row->arg, row->words);
	}
}
