#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# bash completion: flags, options, keys and their values as the program itself lists them,
# files where a file is meant; in lists too, whatever stands before; and in a real bash.
# shellcheck disable=SC2034,SC2207 # COMP_* are bash-completion's to read
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
TOP=$(realpath "$LIB/../..")
LIBRARY=/usr/share/bash-completion/bash_completion
[ -e $LIBRARY ] || skip "bash-completion is not there"

mkdir "$T/w" "$T/w/folder" "$T/bin"
cd "$T/w"
touch disk.raw "two words.raw" data.qcow2
# It is asked often; a build with a sanitizer takes its time.
"$CMFS" --completions >"$T/list"
printf '#!/bin/sh\n[ "$*" = --completions ] && exec cat %q\nexec %q "$@"\n' "$T/list" "$CMFS" >"$T/bin/cmfs"
chmod +x "$T/bin/cmfs"
PATH=$T/bin:$PATH

set +eu # bash-completion is not written for them
# shellcheck disable=SC1090
. $LIBRARY
# shellcheck source=../../fuse/cmfs.bash-completion
. "$TOP/fuse/cmfs.bash-completion"
set -u
compopt() { # works while bash completes only
	options+=" ${*: -1}"
}

# What bash would offer at the end of LINE. It breaks words at = and :, too.
complete_line() {
	local word
	COMP_LINE=$1
	COMP_POINT=${#1}
	COMP_WORDS=()
	for word in $1; do
		while [[ $word =~ ^([^=:]*)([=:])(.*)$ ]]; do
			[ -z "${BASH_REMATCH[1]}" ] || COMP_WORDS+=("${BASH_REMATCH[1]}")
			COMP_WORDS+=("${BASH_REMATCH[2]}")
			word=${BASH_REMATCH[3]}
		done
		[ -z "$word" ] || COMP_WORDS+=("$word")
	done
	[[ $1 != *' ' && $1 != *= ]] || COMP_WORDS+=("")
	COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
	COMPREPLY=()
	options=""
	_cmfs cmfs "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
}

offers() { # LINE WORDS
	complete_line "$1"
	expect "$2" "$(printf '%s\n' "${COMPREPLY[@]}" | LC_ALL=C sort | xargs)" "$1<TAB>"
}

all_of() { # KIND...: their names, with = if they take a value
	cmfs --completions | awk -v kinds=" $* " 'index(kinds, " " $1 " ") { print $2 (NF > 2 ? "=" : "") }' |
		LC_ALL=C sort | xargs
}

offers "cmfs -" "$(cmfs --completions | awk '$1 == "flag" { print $2 }' | LC_ALL=C sort | xargs)"
offers "cmfs --dr" "--drive"
offers "cmfs -o " "$(all_of key option)"
offers "cmfs -o allow" "allow_other"
offers "cmfs -o cache=" "$(xargs -n 1 <<<"$modes" | LC_ALL=C sort | xargs)"
offers "cmfs -o cache=write" "writeback writethrough"
offers "cmfs -ocache=d" "directsync"
[[ $options == *nospace* ]] || fail "a space behind a part of a list"
offers "cmfs -o ro,allow" "ro,allow_other"
offers "cmfs -o cache=none,per" "none,persist="
offers "cmfs -o cache=none,persist=" "off on"
offers "cmfs -o fault=write:EIO,passthrough=a" "auto"
offers "cmfs -o pidfile=d" "data.qcow2 disk.raw"
[[ $options == *filenames* ]] || fail "the file of an option: not as a file"
offers "cmfs -o fsname=d" ""
offers "cmfs -o nonsense=" ""
offers "cmfs --drive " "$(all_of key key-of-one)"
offers "cmfs --drive f" "fault= file= format="
offers "cmfs --drive file=di" "disk.raw"
offers "cmfs --drive=file=di" "disk.raw"
offers "cmfs --drive file=disk.raw,cache=u" "unsafe"
offers "cmfs --drive file=disk.raw,read" "disk.raw,readonly="
offers "cmfs -P d" "data.qcow2 disk.raw"
offers "cmfs d" "data.qcow2 disk.raw"
offers "cmfs disk.raw fo" "folder"
offers "cmfs -f --drive file=disk.raw fo" "folder"
# All options that the help explains are among them.
for name in $(cmfs --help | sed -nE '/^(keys|mount options)/,/to libfuse:/s/^  ([a-z_-]+)(=.*|  .*)/\1/p'); do
	complete_line "cmfs --drive file=x,$name"
	reply=" ${COMPREPLY[*]}"
	complete_line "cmfs -o $name"
	[[ "$reply ${COMPREPLY[*]}" == *[\ ,]$name* ]] || fail "$name is not offered"
done
# Without the program: nothing, and no noise.
PATH=${PATH#"$T/bin:"} complete_line "cmfs -o c" 2>"$T/err"
expect "" "${COMPREPLY[*]}$(cat "$T/err")" "without a program"
set -e

# A bash that one types at.
cat >"$T/type.py" <<'END'
import os, pty, select, sys, time
rc, text, wanted = sys.argv[1:]
pid, fd = pty.fork()
if pid == 0:
    os.execvp("bash", ["bash", "--rcfile", rc, "-i"])
seen, sent, end = "", False, time.time() + 60
while wanted not in seen:
    if not select.select([fd], [], [], max(0, end - time.time()))[0]:
        sys.exit(f"not seen: {wanted!r} in {seen!r}")
    seen += os.read(fd, 4096).decode(errors="replace")
    if not sent and "ready$ " in seen:
        os.write(fd, text.encode())
        seen, sent = "", True
END
{
	printf '. %q\n. %q\n' "$LIBRARY" "$TOP/fuse/cmfs.bash-completion"
	echo "PS1='ready$ '; bind 'set enable-bracketed-paste off'; bind 'set bell-style none'"
} >"$T/rc"
typed() { # TEXT WANTED
	python3 "$T/type.py" "$T/rc" "$1" "$2" || fail "typed '$1'"
}
typed $'cmfs -o cache=none,per\t' "cmfs -o cache=none,persist="
typed $'cmfs --drive cache=no\t,file=tw\t' 'cache=none,file=two\ words.raw'
typed $'cmfs --drive file=fol\t' "file=folder/"
typed $'cmfs disk.raw fo\t' "disk.raw folder/"
