// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package container

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/tw"

	"github.com/copenclose/copenclose/internal/container/runtime"
)

// WriteTable writes a table of containers for people.
func WriteTable(out io.Writer, list []*Container) error {
	table := tablewriter.NewTable(out, tablewriter.WithRendition(tw.Rendition{
		Borders:  tw.BorderNone,
		Settings: tw.Settings{Separators: tw.SeparatorsNone, Lines: tw.LinesNone},
	}), tablewriter.WithHeaderAlignment(tw.AlignLeft))
	table.Header("id", "name", "image", "runtime", "hostname", "cgroupid", "pid", "pod")
	for _, c := range list {
		pod := c.Pod
		if pod != "" && c.Namespace != "" {
			pod = c.Namespace + "/" + pod
		}
		id := c.ID
		if runtime.IsID(id) {
			id = id[:12]
		}
		row := []string{id, c.Name, c.Image, c.Runtime, c.Hostname, number(c.CgroupID), number(uint64(c.PID)), pod}
		for i, cell := range row {
			row[i] = shown(cell)
		}
		if err := table.Append(row); err != nil {
			return err
		}
	}
	return table.Render()
}

// number is n, or nothing for 0, which stands for not known.
func number(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

// shown is text that cannot do anything to a terminal, or - for none.
func shown(text string) string {
	if text == "" {
		return "-"
	}
	quoted := strconv.Quote(text)
	return quoted[1 : len(quoted)-1]
}

// WriteJSON writes an object a line for each container; what is not known is
// absent.
func WriteJSON(out io.Writer, list []*Container) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for _, c := range list {
		err := encoder.Encode(struct {
			ID        string `json:"id"`
			Name      string `json:"name,omitempty"`
			Image     string `json:"image,omitempty"`
			Runtime   string `json:"runtime"`
			Hostname  string `json:"hostname,omitempty"`
			CgroupID  uint64 `json:"cgroup_id,omitempty"`
			PID       int    `json:"pid,omitempty"`
			Pod       string `json:"pod,omitempty"`
			Namespace string `json:"namespace,omitempty"`
			PodUID    string `json:"pod_uid,omitempty"`
			QoS       string `json:"qos,omitempty"`
		}{c.ID, c.Name, c.Image, c.Runtime, c.Hostname, c.CgroupID, c.PID, c.Pod, c.Namespace, c.PodUID, c.QoS})
		if err != nil {
			return fmt.Errorf("write the list of containers: %w", err)
		}
	}
	return nil
}
