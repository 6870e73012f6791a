// SPDX-License-Identifier: GPL-2.0-or-later
/* In place of backend_nbd.c where there is no libnbd. */
#include "cmfs/nbd.h"

#include <errno.h>

int cmfs_backend_nbd_open(const struct cmfs_nbd_source *source, const struct cmfs_open_how *how,
			  struct cmfs_backend **ret, struct cmfs_err *err)
{
	const char *name = source->name	 ? source->name
			   : source->uri ? source->uri
					 : source->socket_path;

	return cmfs_err_set(err, -EOPNOTSUPP,
			    "%s: this cmfs was built without libnbd (libnbd-dev), and has no NBD",
			    name);
}
