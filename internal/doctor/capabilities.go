// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package doctor

import (
	"kernel.org/pub/linux/libs/security/libcap/cap"

	"github.com/copenclose/copenclose/internal/privilege"
	"github.com/copenclose/copenclose/internal/tracer"
)

// howToPrivilege is what to do without the capabilities that tracing takes.
const howToPrivilege = "sudo; setcap cap_bpf,cap_perfmon+ep on the program; or docker run --privileged"

// capabilities has a line for each that is of use.
func capabilities() []Finding { return capabilitiesOf(privilege.Has, tracer.LimitsMapMemory()) }

func capabilitiesOf(has func(cap.Value) bool, limitsMaps bool) (findings []Finding) {
	for _, u := range privilege.Uses {
		name := privilege.Name(u.Capability)
		switch {
		case u.Capability == cap.SYS_RESOURCE && !limitsMaps:
			// Nothing needs it.
		case has(u.Capability):
			findings = append(findings, ok(name, u.For))
		case u.Lost != "":
			findings = append(findings, degraded(name, "not there; it "+u.For, u.Lost, ""))
		case has(cap.SYS_ADMIN):
			findings = append(findings, ok(name, "not there, but CAP_SYS_ADMIN stands for it; it "+u.For))
		default:
			findings = append(findings, missing(name, "not there; it "+u.For, "", howToPrivilege))
		}
	}
	return findings
}
