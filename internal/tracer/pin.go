// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

// #include <stdlib.h>
// #include <bpf/bpf.h>
import "C"

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Pin gives a map or a link a name in a BPF file system, so that it stays when nobody has
// it open.
func Pin(fd int, path string) error {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	if ret := C.bpf_obj_pin(C.int(fd), name); ret < 0 {
		return fmt.Errorf("pin %s: %w", path, unix.Errno(-ret))
	}
	return nil
}

// OpenPinned opens what Pin gave a name.
func OpenPinned(path string) (fd int, err error) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	ret := C.bpf_obj_get(name)
	if ret < 0 {
		return -1, fmt.Errorf("open %s: %w", path, unix.Errno(-ret))
	}
	return int(ret), nil
}
