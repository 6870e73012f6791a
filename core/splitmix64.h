/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_SPLITMIX64_H
#define CMFS_SPLITMIX64_H

#include <stdint.h>

/**
 * cmfs_splitmix64() - the number after @state: small, fast, well spread.
 *
 * Source: Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators"
 * (2014); https://prng.di.unimi.it/splitmix64.c.
 */
static inline uint64_t cmfs_splitmix64(uint64_t state)
{
	uint64_t z = state + 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

#endif
