// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * All of the roster is one word, so that each step is one compare-exchange, and
 * nobody can be called twice or forgotten in between.
 */
#include "roster.h"

#include <assert.h>

/* A state, unpacked. */
struct state {
	uint32_t parked; /* one bit for each worker */
	uint8_t readers;
	uint8_t big;	  /* requests being served */
	bool unbounded;	  /* big_max is off until a big request ends */
	bool was_stalled; /* no big request has ended since the last tick */
};

#define READERS_SHIFT	  32
#define BIG_SHIFT	  40
#define UNBOUNDED_SHIFT	  48
#define WAS_STALLED_SHIFT 49

static uint64_t pack(struct state s)
{
	return s.parked | (uint64_t)s.readers << READERS_SHIFT | (uint64_t)s.big << BIG_SHIFT |
	       (uint64_t)s.unbounded << UNBOUNDED_SHIFT |
	       (uint64_t)s.was_stalled << WAS_STALLED_SHIFT;
}

static struct state unpack(uint64_t word)
{
	return (struct state){
		.parked = (uint32_t)word,
		.readers = (uint8_t)(word >> READERS_SHIFT),
		.big = (uint8_t)(word >> BIG_SHIFT),
		.unbounded = word >> UNBOUNDED_SHIFT & 1,
		.was_stalled = word >> WAS_STALLED_SHIFT & 1,
	};
}

static uint64_t load(struct cmfs_roster *roster)
{
	return atomic_load(&roster->state);
}

/* False, and @word is the newer one, if the state has changed meanwhile. */
static bool change(struct cmfs_roster *roster, uint64_t *word, struct state s)
{
	return atomic_compare_exchange_weak(&roster->state, word, pack(s));
}

static bool full(const struct cmfs_roster *roster, const struct state *s)
{
	return s->big >= roster->big_max && !s->unbounded;
}

static int call_one(struct state *s)
{
	int worker;

	if (!s->parked)
		return CMFS_ROSTER_NOBODY;
	worker = __builtin_ctz(s->parked);
	s->parked &= s->parked - 1;
	s->readers++;
	return worker;
}

static void park(struct state *s, int worker)
{
	assert(!(s->parked & UINT32_C(1) << worker));
	s->parked |= UINT32_C(1) << worker;
}

void cmfs_roster_init(struct cmfs_roster *roster, unsigned int workers, unsigned int readers_max,
		      unsigned int big_max)
{
	assert(workers > 0 && workers <= CMFS_ROSTER_WORKERS_MAX);
	assert(readers_max > 0 && big_max > 0);
	roster->readers_max = readers_max;
	roster->big_max = big_max;
	atomic_init(&roster->state, pack((struct state){ .parked = UINT32_MAX >> (32 - workers) }));
}

int cmfs_roster_call(struct cmfs_roster *roster)
{
	uint64_t word = load(roster);
	struct state s;
	int worker;

	do {
		s = unpack(word);
		worker = call_one(&s);
	} while (!change(roster, &word, s));
	return worker;
}

void cmfs_roster_refuse(struct cmfs_roster *roster, int worker)
{
	uint64_t word = load(roster);
	struct state s;

	do {
		s = unpack(word);
		s.readers--;
		park(&s, worker);
	} while (!change(roster, &word, s));
}

int cmfs_roster_take(struct cmfs_roster *roster, bool big, bool *ret_full)
{
	uint64_t word = load(roster);
	bool was_full;
	struct state s;
	int worker;

	do {
		s = unpack(word);
		assert(s.readers > 0);
		was_full = full(roster, &s);
		s.readers--;
		s.big += big;
		*ret_full = full(roster, &s) && !was_full;
		if (*ret_full)
			s.was_stalled = false;
		worker = s.readers == 0 && !full(roster, &s) ? call_one(&s) : CMFS_ROSTER_NOBODY;
	} while (!change(roster, &word, s));
	return worker;
}

bool cmfs_roster_done(struct cmfs_roster *roster, int worker, bool big)
{
	uint64_t word = load(roster);
	struct state s;
	bool read;

	do {
		s = unpack(word);
		if (big) {
			assert(s.big > 0);
			s.big--;
			s.unbounded = false;
			s.was_stalled = false;
		}
		read = s.readers < roster->readers_max && !full(roster, &s);
		if (read)
			s.readers++;
		else
			park(&s, worker);
	} while (!change(roster, &word, s));
	return read;
}

int cmfs_roster_tick(struct cmfs_roster *roster, bool *ret_full)
{
	uint64_t word = load(roster);
	struct state s;
	int worker;

	do {
		s = unpack(word);
		worker = CMFS_ROSTER_NOBODY;
		*ret_full = s.big >= roster->big_max;
		if (full(roster, &s) && s.was_stalled) {
			s.unbounded = true;
			if (s.readers == 0)
				worker = call_one(&s);
		}
		s.was_stalled = true;
	} while (!change(roster, &word, s));
	return worker;
}
