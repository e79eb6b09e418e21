// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package stream

// A Container is what is known of a container at one time; it does not change.
// When more is found out, another one takes its place. It is the outermost: a container
// that runs in it, or that it pretends to run, is only its Inner.
type Container struct {
	Label     string // for where there is room for one word: pod/name, the name, or 12 digits of the id; for an Inner, /, its name or 12 digits
	ID        string // 64 hex digits; the name, where the runtime gives no other id
	Name      string // as people know it; empty until it is found out
	Image     string // as it was asked for, or as the runtime names it
	Runtime   string
	Pod       string
	PodUID    string
	Namespace string // of Pod
	QoS       string // guaranteed, burstable or besteffort, of a Kubernetes pod
	Hostname  string // its UTS node name
	CgroupID  uint64 // of its own cgroup, 0 where only cgroups inside are known
	PID       int    // its first process, in the tool's PID namespace; only a list has it
	Chosen    bool   // it is one of those that were asked for

	// The container in it that a cgroup inside is of, as that is named: its id, or its
	// name, and its runtime. Empty for itself.
	Inner, InnerRuntime string
}

// Unknown stands for a cgroup of which it is not known whether it is a container's.
var Unknown = &Container{Label: "unknown", Runtime: "unknown"}
