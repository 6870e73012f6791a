// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * NBD URIs, as far as libnbd leaves us something to do:
 *
 *   nbd[s][+unix|+vsock]://[AUTHORITY]/[EXPORT][?socket=PATH&tls-...=PATH]
 */
#include "cmfs/nbd.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const schemes[] = { "nbd",	    "nbds",	 "nbd+unix",
				       "nbds+unix", "nbd+vsock", "nbds+vsock" };

/* Parameters that are paths; the daemon's directory is / once it is ready. */
static const char *const paths[] = { "socket", "tls-certificates", "tls-psk-file" };

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static bool is_one_of(const char *const *list, size_t count, const char *text, size_t len)
{
	for (size_t i = 0; i < count; i++)
		if (strlen(list[i]) == len && strncasecmp(list[i], text, len) == 0)
			return true;
	return false;
}

bool cmfs_nbd_is_uri(const char *text)
{
	const char *colon = strstr(text, "://");

	return colon && strncasecmp(text, "nbd", 3) == 0 && !memchr(text, '/', colon - text);
}

static int check_parameter(const char *text, size_t len, const char *uri, struct cmfs_err *err)
{
	const char *equals = memchr(text, '=', len);
	size_t name_len = equals ? (size_t)(equals - text) : len;

	if (!is_one_of(paths, ARRAY_SIZE(paths), text, name_len))
		return 0;
	if (equals && (equals[1] == '/' || strncasecmp(equals + 1, "%2f", 3) == 0))
		return 0;
	return cmfs_err_set(err, -EINVAL, "%s: %.*s= must be an absolute path", uri, (int)name_len,
			    text);
}

int cmfs_nbd_uri_check(const char *uri, struct cmfs_err *err)
{
	const char *colon = strstr(uri, "://"), *query = strchr(uri, '?');
	int r = 0;

	if (!colon || !is_one_of(schemes, ARRAY_SIZE(schemes), uri, colon - uri))
		return cmfs_err_set(err, -EINVAL,
				    "%s: not an NBD URI: they begin with nbd://, nbds://, "
				    "nbd+unix://, nbds+unix://, nbd+vsock:// or nbds+vsock://",
				    uri);
	for (const char *p = query; p && *p && r == 0;) {
		size_t len = strcspn(++p, "&;");

		r = check_parameter(p, len, uri, err);
		p += len;
	}
	return r;
}

static int hex_digit(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

/* One character of an URI's text; @text moves behind it. */
static char decode(const char **text)
{
	const char *p = *text;

	if (p[0] == '%' && isxdigit((unsigned char)p[1]) && isxdigit((unsigned char)p[2])) {
		*text += 3;
		return (char)(hex_digit(p[1]) * 16 + hex_digit(p[2]));
	}
	*text += 1;
	return *p;
}

void cmfs_nbd_uri_name(const char *uri, char *ret, size_t size)
{
	const char *p = strstr(uri, "://"), *end;
	size_t len = 0;

	p = p ? p + 3 : uri;
	end = p + strcspn(p, "?#");
	p += strcspn(p, "/?#"); /* the authority */
	while (p < end) {
		char c = decode(&p);

		if (c == '/')
			len = 0;
		else if (len + 1 < size && c)
			ret[len++] = c;
	}
	ret[len] = '\0';
	if (len == 0 || strcmp(ret, ".") == 0 || strcmp(ret, "..") == 0)
		snprintf(ret, size, "nbd");
}
