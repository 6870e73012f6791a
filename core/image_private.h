/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_IMAGE_PRIVATE_H
#define CMFS_IMAGE_PRIVATE_H

#include "cmfs/image.h"
#include "cmfs/image_spec.h"
#include "gate.h"
#include "range_lock.h"
#include "verdict.h"

#include <stdatomic.h>

/* What opening the image anew would look at to find its mode. */
struct cmfs_image_source {
	bool cache_given;
	enum cmfs_cache_mode cache;
	bool persist, fixed;
	enum cmfs_aio aio;
};

/* What lies between the image and its file, from the spec (image_layers.c). */
struct cmfs_image_layers {
	char names[96];			/* "powercut=on", from the bottom up; "" for none */
	struct cmfs_overlay *overlay;	/* NULL: not there; lives as long as the image's backend */
	struct cmfs_powercut *powercut; /* the same */
	struct cmfs_write_log *write_log; /* the same; a reference */
	struct cmfs_faults *faults;	  /* the same; a reference */
};

/* Shared by the image_*.c files, and by nobody else. */
struct cmfs_image {
	bool readonly;
	bool fixed_size;		 /* constant: the content is as long as its place */
	struct cmfs_image_source source; /* constant */
	enum cmfs_discard discard;	 /* constant */
	bool stored_cache;		 /* constant: the starting mode came from the host */
	const char *notice;		 /* constant: of the opening of its place */
	enum cmfs_format looks;		 /* constant: what its content looked like */
	struct cmfs_image_layers layers; /* constant */
	struct cmfs_mutex change_lock;	 /* one live change (stored and switched) at a time */
	struct cmfs_mutex switch_lock;	 /* one switch at a time; taken before the gate */
	struct cmfs_gate gate;
	struct cmfs_range_lock ranges;

	struct cmfs_mutex bypass_lock;
	unsigned int bypassers; /* protected by bypass_lock */
	bool sync_flag;		/* the host's is on; protected by bypass_lock */
	bool keep_sync_flag;	/* constant: -o syncflag=on */
	atomic_bool shared;	/* others may write the host file past us; stays set */

	/*
	 * Stable for whoever is inside the gate; changed by a switch, which
	 * holds the gate closed and drained. The mode is atomic as it is also
	 * looked at from outside.
	 */
	struct cmfs_backend *be;
	bool dead; /* cut off, see image_cut.c: be answers -EIO to everything */
	_Atomic enum cmfs_cache_mode mode;

	/*
	 * The host tells an error to one of those that ask, and it must be on
	 * record before another one claims success.
	 */
	struct cmfs_verdicts verdicts;

	_Atomic(const char *) failed_operation; /* NULL: not failed; set once */
	atomic_int failed_error;		/* set before failed_operation */
	atomic_bool failure_taken;
};

/* The mode's row; stable inside the gate. */
const struct cmfs_cache_props *cmfs_image_props(struct cmfs_image *image);

/* Can @mode be had with @aio? 0 or -EINVAL. */
int cmfs_image_check_aio(enum cmfs_aio aio, enum cmfs_cache_mode mode, struct cmfs_err *err);

/* -EIO for an image that must not claim durability any more (P5). */
int cmfs_image_check_failed(struct cmfs_image *image);

/* Remember the first failure of a flush or durable write (P5). Returns @error. */
int cmfs_image_set_failed(struct cmfs_image *image, const char *operation, int error);

/* Flush what the backend has, minding and recording failures. Inside the gate. */
int cmfs_image_flush_inside(struct cmfs_image *image, const char *operation, bool datasync);

/* Set or clear the host's sync flag as @mode needs it. Gate: inside, or closed. */
int cmfs_image_update_sync_flag(struct cmfs_image *image, const struct cmfs_cache_props *mode);

/* Clear it at the end, if nobody needs it who goes on without us. close() follows. */
void cmfs_image_finish_sync_flag(struct cmfs_image *image);

/*
 * Put the layers that @spec wants on @be: the place's opening, and then the topmost
 * layer's. @ret: empty before; on failure, too, cmfs_image_drop_layers() is due.
 */
int cmfs_image_open_layers(const struct cmfs_image_spec *spec, struct cmfs_backend **be,
			   struct cmfs_image_layers *ret, struct cmfs_err *err);

/* P10: leave nothing of what has come to nothing. */
void cmfs_image_drop_layers(struct cmfs_image_layers *layers);

/* The same for another image on the same layers. */
struct cmfs_image_layers cmfs_image_share_layers(const struct cmfs_image_layers *layers);

/* Give back what the layers were asked through; they themselves go with the backend. */
void cmfs_image_release_layers(struct cmfs_image_layers *layers);

/* Record a failure that no flush has told of, before the opening that knows of it goes. */
void cmfs_image_check_inside(struct cmfs_image *image);

#endif
