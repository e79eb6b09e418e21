// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package container

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/internal/namespace"
)

// hostnameOf returns the UTS node name that pid sees; it takes CAP_SYS_ADMIN.
func hostnameOf(pid int) (name string, err error) {
	err = namespace.Run(fmt.Sprintf("/proc/%d/ns/uts", pid), unix.CLONE_NEWUTS, func() error {
		var uts unix.Utsname
		if err := unix.Uname(&uts); err != nil {
			return err
		}
		name = unix.ByteSliceToString(uts.Nodename[:])
		return nil
	})
	return name, err
}
