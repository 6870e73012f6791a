// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * stress CMFS FOLDER MODE SECONDS SEED [passthrough=off] [layer]
 *
 * Mounts an image in FOLDER, has WORKERS processes work on it (worker.c), and meanwhile
 * switches its mode, and ends, kills and restarts the daemon; with "layer", which has it
 * mounted with powercut=on and fault=on, also cuts the power and has the host fail. After
 * each cut and each end the image must be what the promises allow (model.c).
 *
 * Prints one line of counts. Status 1 if a promise was broken.
 */
#include "stress.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_S 120 /* whatever takes longer hangs */

struct shared *shared;

static const char *const mode_names[] = { "writeback", "none", "writethrough", "directsync",
					  "unsafe" };

#define MODES  5
#define UNSAFE 4

static struct {
	const char *cmfs, *extra; /* options */
	char image[256], mountpoint[256], path[280], pid_file[280];
	struct setup setup;
	struct rnd rnd;
	pid_t daemon, workers[WORKERS];
	unsigned int switches, refused, faults, cuts, kills, ends;
} run;

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* A child, which ends with us however we end. */
static pid_t start_child(void)
{
	pid_t pid = fork();

	if (pid == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

/* ---- the daemon ---- */

static void start_daemon(unsigned int mode)
{
	char options[256];
	double start = now();
	int status;

	snprintf(options, sizeof(options), "cache=%s%s%s", mode_names[mode], run.extra,
		 run.setup.layer ? ",powercut=on,powercut-memory=1M,fault=on" : "");
	unlink(run.pid_file);
	run.daemon = start_child();
	if (run.daemon == 0) {
		execl(run.cmfs, "cmfs", "-f", "-P", run.pid_file, "-o", options, run.image,
		      run.mountpoint, (char *)NULL);
		_exit(127);
	}
	while (access(run.pid_file, F_OK) < 0) {
		if (now() - start > PATIENCE_S || waitpid(run.daemon, &status, WNOHANG) != 0) {
			broken("cmfs -o %s could not be mounted again (P11)", options);
			exit(1);
		}
		usleep(2000);
	}
	atomic_store(&shared->mode, mode);
	atomic_store(&shared->next_mode, mode);
	atomic_fetch_add(&shared->switches, 2);
}

/* Its exit status; SIGKILL is 128 + 9. */
static int wait_daemon(void)
{
	double start = now();
	int status;

	while (waitpid(run.daemon, &status, WNOHANG) == 0) {
		if (now() - start > PATIENCE_S) {
			broken("the daemon hangs at its end (P12)");
			kill(run.daemon, SIGABRT);
			exit(1);
		}
		usleep(2000);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- the workers ---- */

static void start_workers(void)
{
	for (unsigned int i = 0; i < WORKERS; i++) {
		run.workers[i] = start_child();
		if (run.workers[i] == 0)
			worker(&run.setup, i);
	}
}

static void park(void)
{
	double start = now();

	atomic_store(&shared->park, true);
	while (atomic_load(&shared->parked) < WORKERS) {
		if (now() - start > PATIENCE_S) {
			broken("a request hangs");
			exit(1);
		}
		usleep(1000);
	}
}

/* All is well again. */
static void resume(void)
{
	atomic_store(&shared->failed, 0);
	atomic_store(&shared->faults, false);
	atomic_store(&shared->log_full, false);
	atomic_store(&shared->breaking, false);
	atomic_store(&shared->park, false);
	while (atomic_load(&shared->parked) > 0)
		usleep(1000);
}

/* ---- what happens to them ---- */

static int set(const char *path, const char *key, const char *value)
{
	char name[64];

	snprintf(name, sizeof(name), "user.cmfs.%s", key);
	return setxattr(path, name, value, strlen(value), 0);
}

static void expect_mode(unsigned int mode)
{
	char value[32];
	ssize_t n = getxattr(run.path, "user.cmfs.cache", value, sizeof(value) - 1);

	value[n < 0 ? 0 : n] = '\0';
	if (strcmp(value, mode_names[mode]) != 0)
		broken("after a switch the mode is '%s', not %s (P7)", value, mode_names[mode]);
}

static void switch_mode(void)
{
	unsigned int old = atomic_load(&shared->mode), mode = rnd_below(&run.rnd, MODES);
	bool failed = atomic_load(&shared->failed) != 0;
	uint64_t start;
	int r, error;

	atomic_store(&shared->next_mode, mode);
	atomic_fetch_add(&shared->switches, 1);
	start = tick();
	r = set(run.path, "cache", mode_names[mode]);
	error = errno;
	if (r == 0 && mode != UNSAFE)
		note_durable(start);
	atomic_store(r == 0 ? &shared->mode : &shared->next_mode, r == 0 ? mode : old);
	atomic_fetch_add(&shared->switches, 1);
	if (r == 0)
		run.switches++;
	else
		run.refused++;
	if (r == 0 && failed && mode != UNSAFE)
		broken("a failed image was switched to %s (P5)", mode_names[mode]);
	if (r < 0 && !failed && !atomic_load(&shared->faults))
		broken("no switch to %s: %s", mode_names[mode], strerror(error));
	expect_mode(r == 0 ? mode : old);
}

static void inject_fault(void)
{
	static const char *const rules[] = {
		"write:EIO:once",
		"flush:EIO:once",
		"read:EIO:times=2",
		"write:ENOSPC:after=5:times=2",
		"any:EIO:rate=1%:times=5",
		"any:ENOSPC:rate=3%:times=2:range=64k-256k",
		"reopen:EIO:once",
		"truncate:EIO:once+punch:EIO:once+zero:ENOSPC:once",
		"write:delay=5ms:times=40+flush:delay=20ms:times=4",
		"off",
	};
	const char *rule = rules[rnd_below(&run.rnd, sizeof(rules) / sizeof(rules[0]))];

	atomic_store(&shared->faults, true);
	if (set(run.path, "fault", rule) < 0)
		broken("fault rule %s: %s", rule, strerror(errno));
	run.faults++;
}

static void cut_power(void)
{
	static const char *const kinds[] = { "lose", "keep", "random", "torn" };
	const char *kind = kinds[rnd_below(&run.rnd, 4)];
	char spec[64];

	atomic_store(&shared->breaking, true);
	snprintf(spec, sizeof(spec), "%s", kind);
	if (kind[0] == 'r' || kind[0] == 't')
		snprintf(spec, sizeof(spec), "%s:%u", kind, rnd_below(&run.rnd, 1000000));
	if (set(run.mountpoint, "powercut", spec) < 0) {
		/* A rule may refuse what it begins with: no second time. */
		if (!atomic_load(&shared->faults))
			broken("power cut %s: %s", spec, strerror(errno));
		set(run.mountpoint, "fault", "off");
		if (set(run.mountpoint, "powercut", spec) < 0)
			broken("power cut %s without faults: %s", spec, strerror(errno));
	}
	park();
	set(run.mountpoint, "fault", "off");
	check_image(run.path, kind[0] != 'k', spec);
	run.cuts++;
	resume();
}

static void end_daemon(bool killed)
{
	bool may_fail = atomic_load(&shared->failed) || atomic_load(&shared->faults);
	bool lossy = run.setup.layer && (killed || may_fail);
	int status;

	atomic_store(&shared->breaking, true);
	kill(run.daemon, killed ? SIGKILL : SIGTERM);
	status = wait_daemon();
	if (!killed && status != 0 && !(status == 1 && may_fail))
		broken("after SIGTERM the daemon's status is %d (P12)", status);
	park();
	umount2(run.mountpoint, MNT_DETACH);
	check_image(run.image, lossy, killed ? "SIGKILL (P11)" : "SIGTERM (P12)");
	*(killed ? &run.kills : &run.ends) += 1;
	start_daemon(rnd_below(&run.rnd, MODES));
	resume();
}

static void something_happens(void)
{
	uint32_t n = rnd_below(&run.rnd, 100);

	if (n < 5)
		end_daemon(true);
	else if (n < 10)
		end_daemon(false);
	else if (n < 22 && run.setup.layer)
		cut_power();
	else if (n < 40 && run.setup.layer)
		inject_fault();
	else if (n < 80)
		switch_mode();
	usleep(rnd_below(&run.rnd, 150000));
	if (atomic_load(&shared->log_full))
		run.setup.layer ? cut_power() : end_daemon(false);
}

/* ---- the whole ---- */

static void prepare(void)
{
	int fd = open(run.image, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	uint64_t size = (WORKERS - 1) * REGION + REGION;

	if (fd < 0 || ftruncate(fd, size) < 0)
		die(run.image);
	close(fd);
	if (mkdir(run.mountpoint, 0700) < 0 && errno != EEXIST)
		die(run.mountpoint);
	shared->size = (struct size_range){ size, size, size, false };
	for (uint32_t i = 0; i < WORKERS; i++) {
		/* Neighbours meet at odd places. */
		uint32_t start = i * REGION + i * 37;

		shared->regions[i].start = start;
		shared->regions[i].end = start + REGION + 37;
	}
	shared->regions[WORKERS - 1].end = shared->regions[WORKERS - 1].start + TAIL_REGION;
}

static void finish(void)
{
	atomic_store(&shared->stop, true);
	for (int i = 0; i < WORKERS; i++) {
		if (run.workers[i] > 0)
			waitpid(run.workers[i], NULL, 0);
	}
	if (run.daemon > 0)
		kill(run.daemon, SIGTERM);
	umount2(run.mountpoint, MNT_DETACH);
	while (waitpid(-1, NULL, 0) > 0)
		;
}

int main(int argc, char **argv)
{
	double end;

	if (argc < 6) {
		fprintf(stderr,
			"usage: stress CMFS FOLDER MODE SECONDS SEED [passthrough=off] [layer]\n");
		return 2;
	}
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED)
		die("mmap");
	run.cmfs = argv[1];
	run.extra = "";
	snprintf(run.image, sizeof(run.image), "%s/img", argv[2]);
	snprintf(run.mountpoint, sizeof(run.mountpoint), "%s/mnt", argv[2]);
	snprintf(run.path, sizeof(run.path), "%s/img", run.mountpoint);
	snprintf(run.pid_file, sizeof(run.pid_file), "%s/pid", argv[2]);
	run.setup.path = run.path;
	run.setup.seed = strtoull(argv[5], NULL, 10);
	run.rnd.state = run.setup.seed;
	for (int i = 6; i < argc; i++) {
		if (strcmp(argv[i], "layer") == 0)
			run.setup.layer = true;
		else
			run.extra = ",passthrough=off";
	}
	prepare();
	for (unsigned int i = 0; i < MODES; i++) {
		if (strcmp(argv[3], mode_names[i]) == 0)
			start_daemon(i);
	}
	if (!run.daemon)
		die("no such mode");
	atexit(finish);
	start_workers();
	end = now() + strtod(argv[4], NULL);
	while (now() < end && !atomic_load(&shared->broken))
		something_happens();
	if (!atomic_load(&shared->broken))
		end_daemon(false);
	printf("%s%s%s seed=%s operations=%ju errors=%ju switches=%u refused=%u faults=%u cuts=%u "
	       "kills=%u ends=%u broken=%u\n",
	       argv[3], run.extra, run.setup.layer ? ",layer" : "", argv[5],
	       (uintmax_t)atomic_load(&shared->operations), (uintmax_t)atomic_load(&shared->errors),
	       run.switches, run.refused, run.faults, run.cuts, run.kills, run.ends,
	       atomic_load(&shared->broken));
	fflush(stdout);
	return atomic_load(&shared->broken) ? 1 : 0;
}
