// SPDX-License-Identifier: GPL-2.0-or-later
#include "powercut_util.h"

#include "harness.h"

#include <string.h>

#define MAX_FILL 65536

void cut_disk_open(struct cut_disk *d, const struct mem_config *config, bool direct,
		   uint64_t memory)
{
	const struct cmfs_open_how how = { .direct = direct };

	d->disk = mem_disk_create(config);
	d->store = mem_disk_store(d->disk);
	assert_int_equal(
		cmfs_backend_powercut_open(mem_backend_open(d->disk, &how), memory, &d->be, NULL),
		0);
	d->pc = cmfs_backend_powercut_state(d->be);
}

void cut_disk_close(struct cut_disk *d)
{
	cmfs_backend_close(d->be);
	mem_disk_destroy(d->disk);
}

void cut_disk_cut(struct cut_disk *d, enum cmfs_powercut_kind kind, uint64_t number)
{
	const struct cmfs_powercut_spec spec = { .kind = kind, .number = number };

	assert_int_equal(cmfs_powercut_off(d->pc, &spec), 0);
	assert_int_equal(cmfs_powercut_settle(d->pc), 0);
	assert_int_equal(cmfs_powercut_on(d->pc), 0);
}

int cut_disk_fill(struct cut_disk *d, int fill, size_t len, uint64_t off,
		  enum cmfs_durability durability)
{
	static __thread char buf[MAX_FILL] __attribute__((aligned(4096)));

	memset(buf, fill, len);
	return cmfs_backend_write(d->be, buf, len, off, durability);
}

bool cut_disk_shows(struct cut_disk *d, int fill, size_t len, uint64_t off)
{
	static __thread char buf[MAX_FILL] __attribute__((aligned(4096)));
	static __thread char wanted[MAX_FILL];
	size_t got;

	memset(wanted, fill, len);
	return cmfs_backend_read(d->be, buf, len, off, &got) == 0 && got == len &&
	       memcmp(buf, wanted, len) == 0;
}

bool cut_disk_holds(struct cut_disk *d, int fill, size_t len, uint64_t off)
{
	char wanted[MAX_FILL];

	memset(wanted, fill, len);
	return mem_store_holds(d->store, MEM_NOW, off, wanted, len);
}

uint64_t cut_disk_size(struct cut_disk *d)
{
	uint64_t size;

	assert_int_equal(cmfs_backend_size(d->be, &size), 0);
	return size;
}

struct cmfs_powercut_summary cut_disk_summary(struct cut_disk *d)
{
	struct cmfs_powercut_summary s;

	assert_int_equal(cmfs_powercut_summarize(d->pc, &s), 0);
	return s;
}
