// SPDX-License-Identifier: GPL-2.0-or-later
#include "harness.h"

#include "cmfs/nbd.h"

#include <errno.h>
#include <string.h>

static void test_what_begins_as_an_nbd_uri_is_one(void **state)
{
	static const struct {
		const char *text;
		bool is;
	} cases[] = {
		{ "nbd://host/disk", true },
		{ "NBDS+unix:///?socket=/s", true },
		{ "nbd+tls://x", true }, /* no scheme, but meant as one: check() tells */
		{ "nbd:", false },
		{ "nbd.img", false },
		{ "./nbd://x", false },
		{ "nbd/x://y", false },
		{ "http://host/nbd", false },
		{ "/nbd://x", false },
		{ "", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (cmfs_nbd_is_uri(cases[i].text) != cases[i].is)
			fail_msg("%s", cases[i].text);
}

static void test_name_is_the_last_part_of_the_export_decoded(void **state)
{
	static const struct {
		const char *uri, *name;
	} cases[] = {
		{ "nbd://host/disk.img", "disk.img" },
		{ "nbd://host:10809/pool/vol%20one", "vol one" },
		{ "nbd://host/a%2Fb", "b" },
		{ "nbd://host/a%2fb/c?tls-psk-file=/x/y", "c" },
		{ "nbd://host", "nbd" },
		{ "nbd://host/", "nbd" },
		{ "nbd://host/a/", "nbd" },
		{ "nbd://user@host", "nbd" },
		{ "nbd://host?socket=/a/b", "nbd" },
		{ "nbd+unix:///?socket=/run/disk.sock", "nbd" },
		{ "nbd+unix:///disk?socket=/run/x/y", "disk" },
		{ "nbd://host/..", "nbd" },
		{ "nbd://host/%2e", "nbd" },
		{ "nbd://host/a%", "a%" },
		{ "nbd://host/a%4", "a%4" },
		{ "nbd://host/a%zz", "a%zz" },
		{ "nbd://host/a%00b", "ab" },
		{ "nbd://host/d#part/of", "d" },
		{ "nbd://host/a-name-that-is-too-long-for-it", "a-name-that-is-" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char name[16];

		cmfs_nbd_uri_name(cases[i].uri, name, sizeof(name));
		assert_string_equal(name, cases[i].name);
	}
}

static void test_uri_that_is_of_no_use_later_is_refused(void **state)
{
	static const struct {
		const char *uri, *says; /* NULL: it is fine */
	} cases[] = {
		{ "nbd://host/disk", NULL },
		{ "nbds://user@host/disk?tls-certificates=/etc/pki", NULL },
		{ "nbd+unix:///disk?socket=/run/s", NULL },
		{ "nbd+unix:///disk?socket=%2Frun%2Fs", NULL },
		{ "nbds+unix:///?socket=/s&tls-psk-file=/k", NULL },
		{ "nbd+vsock://2/", NULL },
		{ "nbd+tcp://host", "not an NBD URI" },
		{ "nbdx://host", "not an NBD URI" },
		{ "nbd+unix:///disk?socket=s", "socket= must be" },
		{ "nbd+unix:///disk?socket=", "socket= must be" },
		{ "nbd+unix:///disk?socket", "socket= must be" },
		{ "nbd+unix:///disk?socket=/s&tls-psk-file=k", "tls-psk-file= must be" },
		{ "nbds://h/?tls-certificates=pki&x=/y", "tls-certificates= must be" },
		{ "nbds://h/?x=/y;tls-certificates=./pki", "tls-certificates= must be" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cmfs_err err = { "" };
		int r = cmfs_nbd_uri_check(cases[i].uri, &err);

		assert_int_equal(r, cases[i].says ? -EINVAL : 0);
		if (cases[i].says &&
		    (!strstr(err.msg, cases[i].says) || !strstr(err.msg, cases[i].uri)))
			fail_msg("%s: %s", cases[i].uri, err.msg);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_begins_as_an_nbd_uri_is_one),
		cmocka_unit_test(test_name_is_the_last_part_of_the_export_decoded),
		cmocka_unit_test(test_uri_that_is_of_no_use_later_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
