// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What survives a cut: some of the history, played in order.
 *
 * Whether a sector of a change survives is a hash of the seed, the change's number
 * and the sector's; the change of the size that may come with it has a number of its
 * own in place of a sector's. A range made zero can be huge: it is decided upon in
 * pieces of whole sectors, of which it has PIECES_MAX at most (and one more at an end
 * that is not aligned). A truncation is one decision.
 */
#include "powercut_private.h"

#include "splitmix64.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PIECES_MAX 4096

/* In place of a sector's number. */
#define DECISION_SIZE (UINT64_MAX - 0)
#define DECISION_TEAR (UINT64_MAX - 1)

/* ---- the spec ---- */

static int parse_number(const char *text, uint64_t *ret)
{
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	return errno || *end ? -EINVAL : 0;
}

int cmfs_powercut_spec_parse(const char *text, struct cmfs_powercut_spec *ret)
{
	static const struct {
		const char *word;
		enum cmfs_powercut_kind kind;
	} kinds[] = {
		{ "lose", CMFS_POWERCUT_LOSE },	     { "keep", CMFS_POWERCUT_KEEP },
		{ "random:", CMFS_POWERCUT_RANDOM }, { "torn:", CMFS_POWERCUT_TORN },
		{ "prefix:", CMFS_POWERCUT_PREFIX },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t len = strlen(kinds[i].word);
		struct cmfs_powercut_spec spec = { .kind = kinds[i].kind };

		if (strncmp(text, kinds[i].word, len) != 0)
			continue;
		if (kinds[i].word[len - 1] != ':' && text[len])
			return -EINVAL;
		if (kinds[i].word[len - 1] == ':' && parse_number(text + len, &spec.number) < 0)
			return -EINVAL;
		*ret = spec;
		return 0;
	}
	return -EINVAL;
}

/* ---- decisions ---- */

static uint64_t decide(uint64_t seed, const struct cmfs_change *change, uint64_t what)
{
	return cmfs_splitmix64(cmfs_splitmix64(cmfs_splitmix64(seed) ^ change->number) ^ what);
}

static bool survives(uint64_t seed, const struct cmfs_change *change, uint64_t what)
{
	return decide(seed, change, what) >> 63;
}

/* ---- playing ---- */

static int play(const struct cmfs_change *change, struct cmfs_powercut_view *view, uint64_t start,
		uint64_t end)
{
	int r = start < end ? cmfs_extent_map_reserve(&view->map) : 0;

	if (r == 0 && start < end)
		cmfs_change_play(change, view, start, end);
	return r;
}

static int play_all(const struct cmfs_change *change, struct cmfs_powercut_view *view)
{
	int r = play(change, view, change->start, change->end);

	cmfs_change_play_size(change, view);
	return r;
}

/* Bytes that are decided upon together. */
static uint64_t piece_size(const struct cmfs_change *change)
{
	uint64_t size = CMFS_POWERCUT_SECTOR;

	if (change->kind == CMFS_CHANGE_ZERO) {
		while ((change->end - change->start) / size >= PIECES_MAX)
			size *= 2;
	}
	return size;
}

/* Runs of surviving sectors go in together. */
static int play_sectors(const struct cmfs_change *change, struct cmfs_powercut_view *view,
			uint64_t seed)
{
	uint64_t size = piece_size(change), run = change->start, pos = change->start;
	int r = 0;

	while (r == 0 && pos < change->end) {
		uint64_t next = pos - pos % size + size;

		if (next > change->end)
			next = change->end;
		if (!survives(seed, change, pos / CMFS_POWERCUT_SECTOR)) {
			r = play(change, view, run, pos);
			run = next;
		}
		pos = next;
	}
	return r == 0 ? play(change, view, run, change->end) : r;
}

static int play_random(const struct cmfs_change *change, struct cmfs_powercut_view *view,
		       uint64_t seed)
{
	bool size_survives = survives(seed, change, DECISION_SIZE);
	int r;

	if (change->kind == CMFS_CHANGE_TRUNCATE)
		return size_survives ? play_all(change, view) : 0;
	/* Space is not content, and may be said of more than anything could hold. */
	r = change->kind == CMFS_CHANGE_ALLOCATE ? 0 : play_sectors(change, view, seed);
	if (size_survives)
		cmfs_change_play_size(change, view);
	return r;
}

/*
 * The write's beginning, up to where a sector ends: each is written whole or not at
 * all; and the size that it made with it.
 */
static int play_torn(const struct cmfs_change *change, struct cmfs_powercut_view *view,
		     uint64_t seed)
{
	uint64_t first = change->start / CMFS_POWERCUT_SECTOR + 1; /* ends of sectors inside */
	uint64_t last = (change->end - 1) / CMFS_POWERCUT_SECTOR;
	uint64_t decision = decide(seed, change, DECISION_TEAR);
	struct cmfs_change torn = *change;

	if (first <= last)
		torn.end = (first + decision % (last - first + 1)) * CMFS_POWERCUT_SECTOR;
	else if (decision >> 63)
		torn.end = change->start;
	if (torn.grow_to > torn.end)
		torn.grow_to = torn.end > torn.start ? torn.end : 0;
	return play_all(&torn, view);
}

/* ---- survivors ---- */

static const struct cmfs_change *newest_write(const struct cmfs_powercut *pc)
{
	const struct cmfs_change *found = NULL;

	for (const struct cmfs_change *c = pc->oldest; c; c = c->next) {
		if (c->kind == CMFS_CHANGE_WRITE)
			found = c;
	}
	return found;
}

/* @place: among the changes that are not durable. */
static int play_survivors(const struct cmfs_powercut_spec *spec, const struct cmfs_change *change,
			  uint64_t place, bool torn, struct cmfs_powercut_view *view)
{
	if (change->kind == CMFS_CHANGE_DURABLE)
		return play_all(change, view);
	switch (spec->kind) {
	case CMFS_POWERCUT_LOSE:
		return 0;
	case CMFS_POWERCUT_KEEP:
		return play_all(change, view);
	case CMFS_POWERCUT_PREFIX:
		return place < spec->number ? play_all(change, view) : 0;
	case CMFS_POWERCUT_TORN:
		if (torn)
			return play_torn(change, view, spec->number);
		break;
	case CMFS_POWERCUT_RANDOM:
		break;
	}
	return play_random(change, view, spec->number);
}

int cmfs_powercut_survivors(struct cmfs_powercut *pc, uint64_t size, struct cmfs_powercut_view *ret)
{
	const struct cmfs_change *last = newest_write(pc);
	uint64_t place = 0;
	int r = 0;

	atomic_store(&ret->size, size);
	for (const struct cmfs_change *c = pc->oldest; r == 0 && c; c = c->next) {
		r = play_survivors(&pc->spec, c, place, c == last, ret);
		place += c->kind != CMFS_CHANGE_DURABLE;
	}
	return r;
}
