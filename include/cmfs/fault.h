/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_FAULT_H
#define CMFS_FAULT_H

#include "cmfs/backend.h"

/*
 * Faults: operations of a backend that are made to fail, or to take long, by rule.
 *
 *   SPEC := RULE { '+' RULE }          write:EIO:after=100+flush:delay=50ms
 *   RULE := OPERATION { ':' KEY }      write:ENOSPC:range=1M-2M:once
 *
 * OPERATION is one that reaches the backend, so not always one that a program
 * asked for: a write in a direct mode may have to read, and a write that must be
 * durable is a write and then a flush where the backend knows no better. It is
 *
 *   read write flush truncate allocate punch zero seek reopen any
 *
 * where reopen is what a live switch of the mode begins with. A KEY is
 *
 *   EIO ...         the error; the operation is not done at all. An errno's name
 *   delay=TIME      wait first: 100us, 50ms, 2s
 *   range=A-B       only what touches the bytes from A up to and without B: 1M-2M, 4G-
 *   after=N         pass the first N
 *   every=N         of the rest, only the Nth, the 2Nth, ...
 *   rate=P%         of those, each with this probability: 10%, 0.5%
 *   seed=N          another series of random numbers for the rate
 *   times=N, once   stop after N hits
 *
 * and they are looked at in this order, whatever the order they are given in. A
 * rule counts what it has seen (its operations in its range), and what it has hit.
 *
 * Rules are asked in their order. Their delays add up; the first that fails the
 * operation ends the search, and the ones behind it do not see the operation.
 *
 * Source: the ideas are those of QEMU's blkdebug (docs/devel/testing/blkdebug) and
 * of nbdkit's error and delay filters.
 */
enum cmfs_fault_op {
	CMFS_FAULT_READ,
	CMFS_FAULT_WRITE,
	CMFS_FAULT_FLUSH,
	CMFS_FAULT_TRUNCATE, /* its range: the new size */
	CMFS_FAULT_ALLOCATE,
	CMFS_FAULT_PUNCH,
	CMFS_FAULT_ZERO,
	CMFS_FAULT_SEEK,
	CMFS_FAULT_REOPEN,
	CMFS_FAULT_OPS,
};

#define CMFS_FAULT_RULES_MAX 16
#define CMFS_FAULT_RULE_LEN  128 /* of a rule's text, with its zero */

/* Room for any answer of cmfs_faults_describe(). */
#define CMFS_FAULT_TEXT_LEN (CMFS_FAULT_RULES_MAX * (CMFS_FAULT_RULE_LEN + 32))

#define CMFS_FAULT_RATE_ALWAYS 1000000

struct cmfs_fault_rule {
	char text[CMFS_FAULT_RULE_LEN]; /* as given */
	unsigned int ops;		/* a bit for each enum cmfs_fault_op */
	int error;			/* -errno; 0: none */
	uint64_t delay_us;
	uint64_t range_start, range_end; /* [start, end) in bytes; end UINT64_MAX: none */
	uint64_t after, every, times;	 /* times 0: no limit */
	uint32_t rate;			 /* in a million */
	uint64_t seed;
};

struct cmfs_fault_rules {
	size_t count;
	struct cmfs_fault_rule rule[CMFS_FAULT_RULES_MAX];
};

/**
 * cmfs_fault_parse() - read a SPEC. Pure.
 * @ret: untouched on failure.
 * @err: filled on failure: names the rule and the part that is wrong, and what works.
 *
 * Returns 0 or -EINVAL.
 */
int cmfs_fault_parse(const char *spec, struct cmfs_fault_rules *ret, struct cmfs_err *err);

/*
 * Rules in force, with their counts: shared by all openings of one place, and by
 * whoever changes them. Any thread.
 */
struct cmfs_faults;

/** cmfs_faults_create() - no rules yet. NULL when out of memory. The caller has one reference. */
struct cmfs_faults *cmfs_faults_create(void);
struct cmfs_faults *cmfs_faults_ref(struct cmfs_faults *faults);
void cmfs_faults_unref(struct cmfs_faults *faults); /* NULL is fine */

/** cmfs_faults_set() - replace all rules (NULL: by none); their counts begin at 0. */
void cmfs_faults_set(struct cmfs_faults *faults, const struct cmfs_fault_rules *rules);

/**
 * cmfs_faults_describe() - "none", or each rule with how often it has hit:
 * "write:EIO:after=100 hits=3 + flush:EIO hits=0".
 * @size: CMFS_FAULT_TEXT_LEN is enough.
 *
 * Returns the length of the whole text, as snprintf(3) does.
 */
int cmfs_faults_describe(struct cmfs_faults *faults, char *text, size_t size);

/* What is to happen to an operation. */
struct cmfs_fault_verdict {
	uint64_t delay_us; /* first */
	int error;	   /* then: -errno, or 0 to do it */
};

/**
 * cmfs_faults_ask() - count an operation, and tell its fate.
 * @off, @len: the bytes that it touches; @len 0: it touches none in particular.
 */
struct cmfs_fault_verdict cmfs_faults_ask(struct cmfs_faults *faults, enum cmfs_fault_op op,
					  uint64_t off, uint64_t len);

/**
 * cmfs_backend_fault_open() - a layer that lets @faults happen to @below.
 * @below: owned by the layer when 0 is returned, else still the caller's.
 * @faults: the layer takes a reference of its own, and so does what reopen() gives.
 *
 * It has no ops->host_fd (kernel passthrough would go past it) and no ops->copy
 * (a copy is reads and writes, and the rules see them). Metadata is passed on.
 * A delay holds no lock of this layer. Errors: -ENOMEM.
 */
int cmfs_backend_fault_open(struct cmfs_backend *below, struct cmfs_faults *faults,
			    struct cmfs_backend **ret, struct cmfs_err *err);

#endif
