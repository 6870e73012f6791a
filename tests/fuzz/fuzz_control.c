// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Values of the control attributes (user.cmfs.*), set on an image that has all layers:
 * a byte says which attribute, up to a zero byte stands its value. Each answers with
 * success or an error in words, and can be read afterwards, in one line.
 */
#include "control.h"

#include "cmfs/image_spec.h"
#include "fuzz.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#define LOG_PATH_LEN 64

struct run {
	struct cmfs_fs fs;
	struct cmfs_file file;
	struct fuzz_input in;
	char log_path[LOG_PATH_LEN];
};

static void open_image(struct run *run, int fd)
{
	char path[32];
	const struct cmfs_image_spec spec = {
		.path = path,
		.powercut = true,
		.powercut_memory = 4096,
		.fault = true,
		.log_writes = run->log_path,
	};
	struct cmfs_image *image;
	struct cmfs_err err = { "" };

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	snprintf(run->log_path, sizeof(run->log_path), "/dev/shm/cmfs-fuzz.%d", (int)getpid());
	unlink(run->log_path);
	FUZZ_CHECK(cmfs_image_open(&spec, &image, &err) == 0, "%s", err.msg);
	pthread_mutex_init(&run->file.lock, NULL);
	run->file.name = "image";
	run->file.backing_id = -EPERM;
	run->file.boot = cmfs_boot_create(image);
	run->file.write_log = cmfs_write_log_ref(cmfs_image_write_log(image));
	run->fs.files = &run->file;
	run->fs.file_count = 1;
}

static void get_all(struct run *run)
{
	char names[1024], value[CMFS_CONTROL_VALUE_MAX];
	char *save, *name;

	snprintf(names, sizeof(names), "%s", cmfs_control_root_get("user.cmfs.keys"));
	for (name = strtok_r(names, " ", &save); name; name = strtok_r(NULL, " ", &save)) {
		const struct cmfs_control_key *key = cmfs_control_find(name);
		int n = key->get(&run->file, run->file.boot->image, value, sizeof(value));

		FUZZ_CHECK(n < (int)sizeof(value), "%s: %d bytes", name, n);
		if (n > 0)
			FUZZ_CHECK(!memchr(value, '\n', n), "%s: a line break", name);
	}
}

static void set_one(struct run *run)
{
	char names[1024], *save, *name, *value;
	uint8_t which = fuzz_byte(&run->in) % 8;
	const struct cmfs_control_key *key;
	struct cmfs_err err = { "" };
	int r = 0;

	snprintf(names, sizeof(names), "%s", cmfs_control_root_get("user.cmfs.keys"));
	name = strtok_r(names, " ", &save);
	while (name && which-- > 0)
		name = strtok_r(NULL, " ", &save);
	value = fuzz_text(&run->in);
	key = name ? cmfs_control_find(name) : NULL;
	/* A fault that takes long is no find, but it takes long. */
	if (key && key->set && !strstr(value, "delay") && !strstr(value, "reopen"))
		r = key->set(&run->fs, &run->file, run->file.boot->image, value, &err);
	else if (key && key->remove)
		r = key->remove(&run->file, run->file.boot->image, &err);
	FUZZ_CHECK(r <= 0, "%s: %d", name, r);
	FUZZ_CHECK(r == 0 || err.msg[0], "%s='%s': error %d without a word", name, value, r);
	free(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct run empty;
	struct run run = empty;
	int fd = memfd_create("image", MFD_CLOEXEC);

	FUZZ_CHECK(fd >= 0 && ftruncate(fd, 8192) == 0, "no file");
	run.in = (struct fuzz_input){ data, size };
	open_image(&run, fd);
	for (int i = 0; i < 16 && run.in.size > 0; i++) {
		size_t done;

		cmfs_image_write(run.file.boot->image, &i, sizeof(i), i * 512, CMFS_VOLATILE,
				 &done);
		set_one(&run);
		get_all(&run);
	}
	cmfs_boot_put(&run.file, run.file.boot);
	cmfs_write_log_unref(run.file.write_log);
	pthread_mutex_destroy(&run.file.lock);
	unlink(run.log_path);
	close(fd);
	return 0;
}
