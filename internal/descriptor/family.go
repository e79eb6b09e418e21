// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package descriptor

// A Family is a process and its descendants, also those whose parents have ended
// between two snapshots.
type Family struct {
	root    uint32
	members map[uint32]uint64 // when they started, by PID
}

// NewFamily returns the Family of a process, by its PID in the initial PID namespace.
func NewFamily(root uint32) *Family {
	return &Family{root: root, members: make(map[uint32]uint64)}
}

func (f *Family) has(t *Table) bool {
	started, ok := f.members[t.PID]
	return ok && started == t.Started
}

// update takes those who are new in s.
func (f *Family) update(s *Snapshot) {
	for found := true; found; {
		found = false
		for _, t := range s.Tables {
			if _, isChild := f.members[t.PPID]; !f.has(t) && (isChild || t.PID == f.root) {
				f.members[t.PID] = t.Started
				found = true
			}
		}
	}
}
