// SPDX-License-Identifier: GPL-2.0-or-later
#include "notify.h"

#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Constant once there are threads. */
static int notify_socket = -1;

void cmfs_notify_start(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t len = path ? strlen(path) : 0;
	int fd;

	/* '@' is an abstract name's; there is AF_VSOCK, too, which is for machines. */
	if (len < 2 || len >= sizeof(address.sun_path) || !strchr("/@", path[0]))
		return;
	memcpy(address.sun_path, path, len);
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	unsetenv("NOTIFY_SOCKET"); /* it is not for our children */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (connect(fd, (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path) + len) <
	    0) {
		close(fd);
		return;
	}
	notify_socket = fd;
}

void cmfs_notify_stop(void)
{
	if (notify_socket >= 0)
		close(notify_socket);
	notify_socket = -1;
}

void cmfs_notify(const char *fmt, ...)
{
	char text[2 * PATH_MAX + 64];
	va_list ap;

	if (notify_socket < 0)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* A manager that does not listen is no reason to fail. */
	(void)!send(notify_socket, text, strlen(text), MSG_NOSIGNAL);
}
