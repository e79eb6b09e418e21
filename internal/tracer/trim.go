// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

/*
#include <malloc.h>
*/
import "C"
import "runtime/debug"

// trim gives back to the kernel what loading took, some 5 MiB, which Go and the C
// library would keep for when they need as much again. They never do.
func trim() {
	debug.FreeOSMemory()
	C.malloc_trim(0)
}
