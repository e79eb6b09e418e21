// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package names

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// fileTypes are the names of the types in st_mode, which are its upper bits;
// inode(7).
var fileTypes = [1 + unix.S_IFMT>>fileTypeShift]string{
	unix.S_IFREG >> fileTypeShift:  "regular",
	unix.S_IFDIR >> fileTypeShift:  "directory",
	unix.S_IFCHR >> fileTypeShift:  "char",
	unix.S_IFBLK >> fileTypeShift:  "block",
	unix.S_IFIFO >> fileTypeShift:  "fifo",
	unix.S_IFLNK >> fileTypeShift:  "symlink",
	unix.S_IFSOCK >> fileTypeShift: "socket",
}

const fileTypeShift = 12

// FileType returns the name of the type of file in st_mode, "" if it has none.
func FileType(mode uint16) string { return fileTypes[mode>>fileTypeShift] }

// ABIs has the names of the 64-bit and the 32-bit ABI, as uname(1) calls the machines;
// a bpf.ABI is its index.
var ABIs = func() [2]string {
	if runtime.GOARCH == "arm64" {
		return [2]string{"aarch64", "arm"}
	}
	return [2]string{"x86_64", "i386"}
}()
