// SPDX-License-Identifier: GPL-2.0-or-later
#include "per_thread.h"

static int make_key(struct cmfs_per_thread *slot)
{
	pthread_mutex_lock(&slot->lock);
	if (slot->made == 0) {
		int error = pthread_key_create(&slot->key, slot->destroy);

		slot->made = error ? -error : 1;
	}
	pthread_mutex_unlock(&slot->lock);
	return slot->made;
}

void *cmfs_per_thread_make(struct cmfs_per_thread *slot)
{
	void *own;

	if (make_key(slot) < 0)
		return NULL; /* UNTESTED: needs a process out of keys */
	own = calloc(1, slot->size);
	if (own && pthread_setspecific(slot->key, own) != 0) {
		free(own); /* UNTESTED: ENOMEM only */
		own = NULL;
	}
	return own;
}
