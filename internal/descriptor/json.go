// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package descriptor

import (
	"bufio"
	"encoding/json"
	"io"
	"math"
	"unicode/utf8"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/names"
	"github.com/copenclose/copenclose/internal/stream"
)

// The keys are those of the events in docs/event.schema.json wherever both have the
// same thing; docs/fds.schema.json and docs/leaks.schema.json have all of them. Bytes that are not valid UTF-8 are in a key with _base64 at its end.

type containerJSON struct {
	ID        string `json:"id"`
	Name      string `json:"name,omitempty"`
	Image     string `json:"image,omitempty"`
	Runtime   string `json:"runtime"`
	Pod       string `json:"pod,omitempty"`
	PodUID    string `json:"pod_uid,omitempty"`
	Namespace string `json:"namespace,omitempty"`
}

func containerOf(c *stream.Container) *containerJSON {
	if c == nil {
		return nil
	}
	return &containerJSON{c.ID, c.Name, c.Image, c.Runtime, c.Pod, c.PodUID, c.Namespace}
}

// text returns b as a string if it is valid UTF-8, else as bytes, which
// encoding/json writes in base64.
func text(b []byte) (string, []byte) {
	if utf8.Valid(b) {
		return string(b), nil
	}
	return "", b
}

type processJSON struct {
	PID        uint32         `json:"pid"`
	TID        uint32         `json:"tid,omitempty"` // whose table it is, if not the first one's
	PPID       uint32         `json:"ppid"`
	UID        uint32         `json:"uid"`
	Comm       string         `json:"comm,omitempty"`
	CommBase64 []byte         `json:"comm_base64,omitempty"`
	CgroupID   uint64         `json:"cgroup_id"`
	Container  *containerJSON `json:"container,omitempty"`
	Unknown    bool           `json:"container_unknown,omitempty"`
}

func processOf(t *Table) processJSON {
	p := processJSON{
		PID: t.PID, PPID: t.PPID, UID: t.UID, CgroupID: t.CgroupID,
		Container: containerOf(t.Container), Unknown: !t.IsKnown,
	}
	p.Comm, p.CommBase64 = text(t.Comm())
	if t.TID != t.PID {
		p.TID = t.TID
	}
	return p
}

// limitOf returns a limit, nil if there is none.
func limitOf(limit uint64) *uint64 {
	if limit == math.MaxUint64 {
		return nil
	}
	return &limit
}

type groupJSON struct {
	Count  int    `json:"count"`
	Kind   string `json:"kind"`
	Target string `json:"target,omitempty"`
	State  string `json:"state,omitempty"`
	Held   uint64 `json:"held_bytes,omitempty"`
}

// groupsMax is how many groups of a process are written.
const groupsMax = 10

func groupsOf(groups []*Group) []groupJSON {
	list := []groupJSON{}
	for _, g := range groups[:min(len(groups), groupsMax)] {
		list = append(list, groupJSON{g.Count, g.Kind, g.Target, g.State, g.Held})
	}
	return list
}

func kindsOf(descriptors []*Descriptor) map[string]int {
	kinds := make(map[string]int)
	for _, d := range descriptors {
		kinds[d.Kind()]++
	}
	return kinds
}

// encode writes an object a line.
func encode(out io.Writer, write func(encode func(any) error) error) error {
	w := bufio.NewWriterSize(out, 1<<16)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	if err := write(encoder.Encode); err != nil {
		return err
	}
	return w.Flush()
}

// WriteProcessesJSON writes an object for each process, of kinds and groups what the
// filter let pass, and one for the other limits.
func WriteProcessesJSON(out io.Writer, s *Snapshot, holdings []*Holding, files Limit, inotify []Limit) error {
	return encode(out, func(encode func(any) error) error {
		for _, h := range holdings {
			err := encode(struct {
				processJSON
				FDs       int            `json:"fds"`
				Matching  int            `json:"matching"`
				Limit     *uint64        `json:"limit"`
				HardLimit *uint64        `json:"hard_limit"`
				Use       float64        `json:"use"`
				Held      uint64         `json:"held_bytes,omitempty"`
				Kinds     map[string]int `json:"kinds"`
				Groups    []groupJSON    `json:"groups"`
				Shares    []uint32       `json:"table_shared_with,omitempty"`
				changeJSON
			}{
				processOf(h.Table), len(h.Descriptors), len(h.Matching), limitOf(h.Limit), limitOf(h.HardLimit),
				h.Use(), h.Held(), kindsOf(h.Matching), groupsOf(h.Groups), h.Shares, s.changeJSON(h),
			})
			if err != nil {
				return err
			}
		}
		return encode(struct {
			Limits []limitJSON `json:"limits"`
		}{limitsOf(append([]Limit{files}, inotify...))})
	})
}

// changeJSON is what a snapshot with dates says of a process.
type changeJSON struct {
	PerMinute *float64 `json:"growth_per_minute,omitempty"`
	FullIn    float64  `json:"full_in_seconds,omitempty"`
	Oldest    *int64   `json:"oldest_ns,omitempty"`
	OldestIs  string   `json:"oldest_is,omitempty"`
}

func (s *Snapshot) changeJSON(h *Holding) (j changeJSON) {
	if !s.isDated {
		return j
	}
	if s.hasGrowth {
		j.PerMinute, j.FullIn = &h.PerMinute, h.FullIn(h.PerMinute).Seconds()
	}
	if d := oldest(h.Matching); d != nil {
		age := int64(d.age(s))
		j.Oldest, j.OldestIs = &age, boundNames[d.origin.Age]
	}
	return j
}

type limitJSON struct {
	What      string  `json:"what"`
	UID       *uint32 `json:"uid,omitempty"`
	Used      uint64  `json:"used"`
	Max       uint64  `json:"max"`
	Most      string  `json:"most_comm,omitempty"`
	MostCount int     `json:"most_count,omitempty"`
}

func limitsOf(limits []Limit) (list []limitJSON) {
	for i, l := range limits {
		j := limitJSON{What: l.What, Used: l.Used, Max: l.Max, Most: escaped([]byte(l.Most)), MostCount: l.MostCount}
		if l.What != HostFilesLimit {
			j.UID = &limits[i].Owner
		}
		list = append(list, j)
	}
	return list
}

// WriteContainersJSON writes an object for each container, and one without container
// for the host.
func WriteContainersJSON(out io.Writer, sums []*Sum) error {
	return encode(out, func(encode func(any) error) error {
		for _, s := range sums {
			err := encode(struct {
				Container *containerJSON `json:"container,omitempty"`
				Unknown   bool           `json:"container_unknown,omitempty"`
				Processes int            `json:"processes"`
				FDs       int            `json:"fds"`
				Matching  int            `json:"matching"`
				Use       float64        `json:"use"`
				UsePID    uint32         `json:"use_pid"`
				Kinds     map[string]int `json:"kinds"`
				Groups    []groupJSON    `json:"groups"`
			}{
				containerOf(s.Container), !s.IsKnown, len(s.Holdings), s.Count, len(s.Matching),
				s.Holdings[0].Use(), s.Holdings[0].PID, kindsOf(s.Matching), groupsOf(s.Groups),
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// WriteTargetsJSON writes an object for each thing that is open.
func WriteTargetsJSON(out io.Writer, groups []*Group) error {
	return encode(out, func(encode func(any) error) error {
		for _, g := range groups {
			err := encode(struct {
				groupJSON
				Processes int         `json:"processes"`
				Most      processJSON `json:"most_by"`
			}{groupJSON{g.Count, g.Kind, g.Target, g.State, g.Held}, g.Tables, processOf(g.Most)})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

type holderJSON struct {
	PID uint32 `json:"pid"`
	FD  uint32 `json:"fd"`
}

type descriptorJSON struct {
	processJSON
	FD         uint32       `json:"fd"`
	Kind       string       `json:"kind"`
	Mode       string       `json:"mode"`
	Cloexec    bool         `json:"cloexec"`
	Path       string       `json:"path,omitempty"`
	PathBase64 []byte       `json:"path_base64,omitempty"`
	Truncated  bool         `json:"truncated,omitempty"`
	Name       string       `json:"name,omitempty"` // of an anonymous inode, memfd, namespace
	NameBase64 []byte       `json:"name_base64,omitempty"`
	Inode      uint64       `json:"inode,omitempty"`
	Size       uint64       `json:"size,omitempty"`
	Deleted    bool         `json:"deleted,omitempty"`
	Held       uint64       `json:"held_bytes,omitempty"`
	Family     string       `json:"family,omitempty"`
	Protocol   string       `json:"protocol,omitempty"`
	State      string       `json:"state,omitempty"`
	Addr       string       `json:"addr,omitempty"` // the other end
	Port       *uint32      `json:"port,omitempty"`
	LocalAddr  string       `json:"local_addr,omitempty"`
	LocalPort  *uint32      `json:"local_port,omitempty"`
	PeerPID    uint32       `json:"peer_pid,omitempty"` // who connected or listened; unix(7) SO_PEERCRED
	Other      *holderJSON  `json:"other_end,omitempty"`
	Shared     []holderJSON `json:"shared_with,omitempty"`
	How        string       `json:"how,omitempty"`
	Age        *int64       `json:"age_ns,omitempty"`
	AgeIs      string       `json:"age_is,omitempty"`
	OpenedBy   *openerJSON  `json:"opened_by,omitempty"`
}

// openerJSON is who opened a file.
type openerJSON struct {
	PID  uint32 `json:"pid"`
	FD   uint32 `json:"fd"`
	Call string `json:"call"`
	Age  int64  `json:"age_ns"` // of the file
}

var boundNames = map[Bound]string{Exactly: "exact", AtLeast: "at least", AtMost: "at most"}

// addOrigin adds how and when the descriptor was made.
func (j *descriptorJSON) addOrigin(s *Snapshot, d *Descriptor) {
	age := int64(d.age(s))
	j.How, j.Age, j.AgeIs = d.origin.How, &age, boundNames[d.origin.Age]
	if pid, fd, call, known := d.opener(); known {
		j.OpenedBy = &openerJSON{pid, fd, call, int64(s.Time - min(s.Time, d.FileTime))}
	}
}

// sharedMax is how many holders of the same file are written.
const sharedMax = 16

// WriteDescriptorsJSON writes an object for each descriptor.
func WriteDescriptorsJSON(out io.Writer, s *Snapshot, holdings []*Holding) error {
	s.join()
	others := s.OtherEnds()
	return encode(out, func(encode func(any) error) error {
		for _, h := range holdings {
			process := processOf(h.Table)
			for _, d := range h.Matching {
				j := d.json(process, others.Of(d))
				if s.isDated {
					j.addOrigin(s, d)
				}
				if err := encode(j); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (d *Descriptor) json(process processJSON, other *Descriptor) *descriptorJSON {
	j := &descriptorJSON{
		processJSON: process, FD: d.FD, Kind: d.Kind(), Mode: d.Access(), Cloexec: d.IsCloexec,
		Inode: d.Inode, Size: d.Size, Deleted: d.IsDeleted, Held: d.Held, State: d.State(),
		Truncated: d.Of.Details.Remarks&bpf.Truncated != 0,
	}
	switch d.Of.Details.Target {
	case bpf.TargetSocket:
		j.addEnds(d)
	case bpf.TargetFile:
		j.Path, j.PathBase64 = text(d.Of.Name())
	case bpf.TargetPipe:
	default:
		j.Name, j.NameBase64 = text(d.Of.Name())
	}
	if other != nil {
		j.Other = &holderJSON{other.PID, other.FD}
	}
	for _, s := range d.shared {
		if s != d && len(j.Shared) < sharedMax {
			j.Shared = append(j.Shared, holderJSON{s.PID, s.FD})
		}
	}
	return j
}

func (j *descriptorJSON) addEnds(d *Descriptor) {
	j.Family = string(names.AppendFamily(nil, d.family()))
	j.Protocol = string(d.appendProtocol(nil))
	if d.Of.Socket != nil {
		j.PeerPID = d.Of.Socket.PeerPID
	}
	local, peer := d.ends()
	j.LocalAddr, j.LocalPort = addressOf(local)
	j.Addr, j.Port = addressOf(peer)
}

// addressOf returns the address and, of what has one, the port. The name of a unix
// socket is escaped where it is not valid UTF-8.
func addressOf(a bpf.Address) (string, *uint32) {
	switch {
	case a.IP.IsValid():
		return string(names.AppendIP(nil, a)), &a.Port
	case a.IsVsock:
		return number(a.CID), &a.Port
	case len(a.Unix) == 0:
		return "", nil
	}
	name := a.Unix
	if name[0] == 0 {
		name = append([]byte{'@'}, name[1:]...)
	}
	if utf8.Valid(name) {
		return string(name), nil
	}
	return escaped(name), nil
}
