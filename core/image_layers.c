// SPDX-License-Identifier: GPL-2.0-or-later
/* What lies between an image and its place: an overlay, power cuts, the write log, faults. */
#include "image_private.h"

#include "backend_zeroes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* What cannot be written has nothing to throw away. */
static bool wants_overlay(const struct cmfs_image_spec *spec)
{
	return spec->snapshot && !spec->readonly;
}

static int wrap_overlay(const struct cmfs_image_spec *spec, struct cmfs_backend *below,
			struct cmfs_backend **ret, struct cmfs_image_layers *layers,
			struct cmfs_err *err)
{
	struct cmfs_backend *temp;
	int r = cmfs_overlay_temp_open(below->how.direct, &temp, err);

	if (r < 0)
		return r;
	r = cmfs_backend_overlay_open(below, temp, ret, err);
	if (r == 0)
		layers->overlay = cmfs_backend_overlay_state(*ret);
	else
		cmfs_backend_close(temp);
	return r;
}

static bool wants_powercut(const struct cmfs_image_spec *spec)
{
	return spec->powercut;
}

static int wrap_powercut(const struct cmfs_image_spec *spec, struct cmfs_backend *below,
			 struct cmfs_backend **ret, struct cmfs_image_layers *layers,
			 struct cmfs_err *err)
{
	int r = cmfs_backend_powercut_open(below, spec->powercut_memory, ret, err);

	if (r == 0)
		layers->powercut = cmfs_backend_powercut_state(*ret);
	return r;
}

static bool wants_write_log(const struct cmfs_image_spec *spec)
{
	return spec->log_writes;
}

static int wrap_write_log(const struct cmfs_image_spec *spec, struct cmfs_backend *below,
			  struct cmfs_backend **ret, struct cmfs_image_layers *layers,
			  struct cmfs_err *err)
{
	int r = cmfs_write_log_create(spec->log_writes, &layers->write_log, err);

	return r < 0 ? r : cmfs_backend_write_log_open(below, layers->write_log, ret, err);
}

static bool wants_faults(const struct cmfs_image_spec *spec)
{
	return spec->fault;
}

static int wrap_faults(const struct cmfs_image_spec *spec, struct cmfs_backend *below,
		       struct cmfs_backend **ret, struct cmfs_image_layers *layers,
		       struct cmfs_err *err)
{
	layers->faults = cmfs_faults_create();
	if (!layers->faults)
		return cmfs_err_set(err, -ENOMEM, "out of memory");
	cmfs_faults_set(layers->faults, &spec->fault_rules);
	return cmfs_backend_fault_open(below, layers->faults, ret, err);
}

static bool wants_zeroes(const struct cmfs_image_spec *spec)
{
	return spec->detect_zeroes != CMFS_DETECT_ZEROES_OFF && !spec->readonly;
}

static int wrap_zeroes(const struct cmfs_image_spec *spec, struct cmfs_backend *below,
		       struct cmfs_backend **ret, struct cmfs_image_layers *layers,
		       struct cmfs_err *err)
{
	return cmfs_backend_zeroes_open(below, spec->detect_zeroes == CMFS_DETECT_ZEROES_UNMAP, ret,
					err);
}

/*
 * What can lie between an image and its file, from the bottom up. Each wraps the
 * opening below it, and reopens it when it is reopened.
 */
static const struct layer {
	const char *name; /* as its option has it */
	bool (*wanted)(const struct cmfs_image_spec *spec);
	/* @ret owns @below if 0 is returned. */
	int (*wrap)(const struct cmfs_image_spec *spec, struct cmfs_backend *below,
		    struct cmfs_backend **ret, struct cmfs_image_layers *layers,
		    struct cmfs_err *err);
} layers[] = {
	{ "snapshot=on", wants_overlay, wrap_overlay },
	{ "powercut=on", wants_powercut, wrap_powercut },
	{ "log-writes", wants_write_log, wrap_write_log },
	{ "fault", wants_faults, wrap_faults },
	{ "detect-zeroes", wants_zeroes, wrap_zeroes },
};

const char *cmfs_image_spec_layer(const struct cmfs_image_spec *spec)
{
	for (size_t i = 0; i < sizeof(layers) / sizeof(layers[0]); i++) {
		if (layers[i].wanted(spec))
			return layers[i].name;
	}
	return NULL;
}

int cmfs_image_open_layers(const struct cmfs_image_spec *spec, struct cmfs_backend **be,
			   struct cmfs_image_layers *ret, struct cmfs_err *err)
{
	struct cmfs_err why;

	for (size_t i = 0; i < sizeof(layers) / sizeof(layers[0]); i++) {
		size_t n = strlen(ret->names);
		int r;

		if (!layers[i].wanted(spec))
			continue;
		r = layers[i].wrap(spec, *be, be, ret, &why);
		if (r < 0)
			return cmfs_err_set(err, r, "%s: %s: %s", spec->path, layers[i].name,
					    why.msg);
		snprintf(ret->names + n, sizeof(ret->names) - n, "%s%s", n ? ", " : "",
			 layers[i].name);
	}
	return 0;
}

const char *cmfs_image_layers(struct cmfs_image *image)
{
	return image->layers.names;
}

struct cmfs_write_log *cmfs_image_write_log(struct cmfs_image *image)
{
	return image->layers.write_log;
}

struct cmfs_faults *cmfs_image_faults(struct cmfs_image *image)
{
	return image->layers.faults;
}

struct cmfs_image_layers cmfs_image_share_layers(const struct cmfs_image_layers *stack)
{
	if (stack->write_log)
		cmfs_write_log_ref(stack->write_log);
	if (stack->faults)
		cmfs_faults_ref(stack->faults);
	return *stack;
}

void cmfs_image_release_layers(struct cmfs_image_layers *stack)
{
	cmfs_write_log_unref(stack->write_log); /* who looks at the result has another */
	cmfs_faults_unref(stack->faults);
}

void cmfs_image_drop_layers(struct cmfs_image_layers *stack)
{
	if (stack->write_log)
		cmfs_write_log_drop(stack->write_log);
	cmfs_image_release_layers(stack);
}
