#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# man/cmfs.1 names exactly the flags, options and control attributes that the
# program has; the tables of modes in README.md and man/cmfs-cache.7 say what
# core/cache_mode.c says; the promises are all there.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
TOP=$LIB/../..
PAGE=$TOP/man/cmfs.1

same() { # WHAT PROGRAM-SAYS DOCUMENT-SAYS
	[ -s "$2" ] || fail "$1: the program's list is empty"
	diff -u "$2" "$3" >&2 || fail "$1: the program (-) and the document (+) differ"
}

"$CMFS" --help >"$T/help"

# What stands between two lines of the help, or below one of its labels.
help_block() { # FROM-REGEX TO-REGEX
	awk -v from="$1" -v to="$2" '$0 ~ to { on = 0 } on; $0 ~ from { on = 1 }' "$T/help"
}

help_list() { # LABEL: the comma-separated list beside it
	awk -v label="$1" '
		index($0, "  " label) == 1 { on = 1; sub("^ *" label, "") }
		on && !/^   / { exit }
		on' "$T/help" | tr ',' '\n' | tr -d ' ' | sed '/^$/d'
}

# The lines of a subsection of the page.
page_part() { # TITLE
	awk -v title=".Ss $1" '/^\.S[sh] / { on = ($0 == title) } on' "$PAGE"
}

# From mdoc to words: ".Cm cache Ns = Ns Ar mode ," to "cache=MODE".
words() {
	sed -E 's/^\.(It )?(Cm|Fl) //; s/ [,.;]$//; s/ Ns //g; s/ ?= ?/=/; s/=Ar /=/' |
		awk -F= '{ print $1 (NF > 1 ? "=" toupper($2) : "") }'
}

# Flags: "-P FILE", "-h, --help".
sed -n '/^usage/,/^keys of an image/s/^  \(-[^ ].*\)/\1/p' "$T/help" | sed 's/   *.*//' |
	sed -E 's/OPT\[.*/OPTION/' | sort >"$T/flags"
page_part Flags | sed -n 's/^\.It Fl //p' |
	sed -E 's/^(.) , -/-\1, --/; s/^([^-])/-\1/; s/^-([a-z]{2})/--\1/; s/ Ns .*//; s/ Ar (.*)/ \U\1/' |
	sort >"$T/man-flags"
same flags "$T/flags" "$T/man-flags"

help_block '^keys of an image' '^mount options' | sed -n 's/^  \([^ ][^ ]*\) .*/\1/p' |
	sort >"$T/image-keys"
page_part "Keys of an image" | grep '^\.It Cm' | words | sort >"$T/man-image-keys"
same "keys of an image" "$T/image-keys" "$T/man-image-keys"

help_block '^mount options' 'to libfuse:' | sed -n 's/^  \([^ ][^ ]*\) .*/\1/p' | sort >"$T/options"
page_part "Mount options" | grep '^\.It Cm' | words | sort >"$T/man-options"
same "mount options" "$T/options" "$T/man-options"

help_list 'to libfuse:' | sort >"$T/passed"
page_part "Options passed to libfuse and the kernel" | sed '/^mean what/,$d' |
	grep '^\.Cm' | words | sort >"$T/man-passed"
same "options for libfuse" "$T/passed" "$T/man-passed"

help_list 'ignored:' | sort >"$T/ignored"
page_part "Options that are ignored" | grep '^\.Cm' | words | sort >"$T/man-ignored"
same "ignored options" "$T/ignored" "$T/man-ignored"

# Control attributes: what the root directory tells.
mkdir "$T/mnt"
truncate -s 1M "$T/img"
cmfs_start c "$T/img" "$T/mnt"
getfattr --only-values -n user.cmfs.keys "$T/mnt" | tr ' ' '\n' | awk 1 | sort >"$T/keys"
page_part "On an image" | sed -n 's/^\.It Va //p' | sort >"$T/man-keys"
same "control attributes" "$T/keys" "$T/man-keys"
getfattr -d "$T/mnt" | sed -n 's/^\(user[^=]*\)=.*/\1/p' | sort >"$T/root-keys"
page_part "On the mount's root directory" | sed -n 's/^\.It Va //p' | sort >"$T/man-root-keys"
same "the root directory's attributes" "$T/root-keys" "$T/man-root-keys"
cmfs_stop c

# Modes: "NAME DIRECT DSYNC FLUSH FLAGS", from the table in the source.
sed -n 's/^\t\[CMFS_CACHE_.*{ "\([a-z]*\)", *\([^,]*\), *\.direct = \([a-z]*\), *\.dsync = \([a-z]*\), *\.flush = \([a-z]*\) .*/\1 \2 \3 \4 \5/p' \
	"$TOP/core/cache_mode.c" | awk '{
		print $1, $3 == "true" ? "yes" : "no", $4 == "true" ? "yes" : "no",
			$5 == "true" ? "honoured" : "ignored",
			"O_RDWR" ($3 == "true" ? "|O_DIRECT" : "") ($4 == "true" ? "|O_DSYNC" : "")
	}' >"$T/modes"
expect "$modes" "$(cut -d ' ' -f 1 "$T/modes" | xargs)" "the modes in the source"
tr -s ' \n' ' ' <"$T/help" |
	grep -qF "mode: $(cut -d ' ' -f 1 "$T/modes" | xargs | sed 's/ /, /g') (" ||
	fail "--help names other modes"

# shellcheck disable=SC2016 # a backtick is meant
sed -n 's/^| `\([a-z]*\)`[^|]*|\(.*\)|$/\1|\2/p' "$TOP/README.md" |
	sed 's/\\|/+/g; s/[`|]/ /g; s/+/|/g' | xargs -n 5 >"$T/readme-modes"
same "README.md: modes" "$T/modes" "$T/readme-modes"

sed -n '/^\.Sh MODES/,/^\.El/s/^\.It Cm //p' "$TOP/man/cmfs-cache.7" |
	sed 's/ Ta / /g; s/ Dv / /; s/ O_DIRECT/|O_DIRECT/; s/ O_DSYNC/|O_DSYNC/' >"$T/man-modes"
same "cmfs-cache(7): modes" "$T/modes" "$T/man-modes"

expect "$(printf 'P%d ' {1..12})" \
	"$(sed -n 's/^\.It Sy \(P[0-9]*\) ,.*/\1/p' "$TOP/man/cmfs-cache.7" | tr '\n' ' ')" "promises"
