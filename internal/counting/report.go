// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package counting

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/tw"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/escape"
)

// A Report is a Snapshot as rows of some dimensions.
type Report struct {
	By      []Dimensions // one each, in the order of their columns
	Top     int          // rows to show
	Latency bool
	Time    time.Time
	Seconds float64
	Account Account
	Rows    []Row
	Rest    Sum // what is in no row
	Others  int // rows that are not shown
}

// dimensionNames are the names of Dimensions, in the order of their bits.
var dimensionNames = [...]string{"container", "exe", "syscall", "operation", "errno", "user", "path", "peer"}

// DimensionNames are what ParseDimension takes.
func DimensionNames() []string {
	return []string{"container", "exe", "syscall", "errno", "path", "peer", "user"}
}

// ParseDimension returns the dimension with a name.
func ParseDimension(name string) (Dimensions, error) {
	for i, known := range dimensionNames {
		if name == known && Dimensions(1)<<i != ByOperation {
			return 1 << i, nil
		}
	}
	return 0, fmt.Errorf("not one of %s", strings.Join(DimensionNames(), ", "))
}

func (by Dimensions) String() string {
	for i, name := range dimensionNames {
		if by == 1<<i {
			return name
		}
	}
	return strconv.Itoa(int(by))
}

// Make fills in the rows of a report from what was counted in s.
func (r *Report) Make(s *Snapshot, samples *Samples) {
	var by Dimensions
	for _, one := range r.By {
		by |= one
	}
	r.Time, r.Seconds, r.Account = s.Time, s.Seconds, s.Account
	rows := s.Rows(by, func(*Cell) bool { return true }, samples, max(1, r.Top))
	r.Rows, r.Rest, r.Others = Rank(rows, func(r *Row) float64 { return float64(r.Calls()) }, r.Top)
	r.Rest.Add(&s.Account.OtherSum)
}

// plainTable returns a table without lines, of which columns from number on are numbers.
func plainTable(out io.Writer, header []string, numbers map[int]bool) *tablewriter.Table {
	align := make([]tw.Align, len(header))
	for i := range align {
		align[i] = tw.AlignLeft
		if numbers[i] {
			align[i] = tw.AlignRight
		}
	}
	table := tablewriter.NewTable(out,
		tablewriter.WithRendition(tw.Rendition{
			Borders:  tw.BorderNone,
			Settings: tw.Settings{Separators: tw.SeparatorsNone, Lines: tw.LinesNone},
		}),
		tablewriter.WithHeaderAutoFormat(tw.Off),
		tablewriter.WithHeaderAlignmentConfig(tw.CellAlignment{PerColumn: align}),
		tablewriter.WithRowAlignmentConfig(tw.CellAlignment{PerColumn: align}),
		tablewriter.WithRowAutoWrap(tw.WrapNone),
	)
	table.Header(header)
	return table
}

// column is a column of the table.
type column struct {
	name   string
	number bool
	cell   func(*Row) string
}

func (r *Report) columns() []column {
	var columns, last []column
	for _, by := range r.By {
		c := column{name: strings.ToUpper(by.String()), cell: func(row *Row) string { return row.text(by) }}
		if by&Estimated != 0 && slices.Contains(r.By, ByError) {
			c.cell = func(row *Row) string { return escape.String(row.Target.Text) }
		}
		if by&Estimated != 0 {
			last = append(last, c)
		} else {
			columns = append(columns, c)
		}
	}
	columns = append(columns,
		column{"CALLS", true, func(row *Row) string { return Grouped(row.Calls()) }})
	if last != nil {
		columns = append(columns, column{"±", true, (*Row).deviation})
	}
	columns = append(columns,
		column{"PER S", true, func(row *Row) string { return r.perSecond(row.Calls()) }},
		column{"FAILED", true, func(row *Row) string { return Grouped(row.Failed()) }})
	if r.Latency && last == nil {
		columns = append(columns,
			column{"P50", true, func(row *Row) string { return quantile(row.Latencies(), 0.5) }},
			column{"P99", true, func(row *Row) string { return quantile(row.Latencies(), 0.99) }})
	}
	if last != nil {
		return append(columns, last...)
	}
	return append(columns, column{"TOP TARGET", false, (*Row).topText})
}

func (r *Report) perSecond(calls uint64) string {
	if r.Seconds <= 0 {
		return "-"
	}
	return Short(float64(calls) / r.Seconds)
}

func quantile(l *Latencies, q float64) string {
	if l == nil {
		return "-"
	}
	return ShortTime(l.Quantile(q), "us")
}

// text returns what row has in a dimension, for a terminal.
func (row *Row) text(by Dimensions) string {
	switch by {
	case ByContainer:
		return escape.String(row.Origin.Label())
	case ByProgram:
		return escape.String(row.Program.Path)
	case BySyscall:
		return bpf.Syscalls[row.Syscall].Name
	case ByOperation:
		return row.Operation().String()
	case ByError:
		if row.Error == 0 {
			return "-"
		}
		return ErrorName(row.Error)
	case ByUser:
		return strconv.FormatUint(uint64(row.UID), 10)
	}
	return escape.String(row.Target.String())
}

// deviation returns how many calls more or fewer a row by path or peer can have.
func (row *Row) deviation() string {
	if row.Target.Share == 0 {
		return "0"
	}
	return Grouped(uint64(float64(row.Calls())*row.Target.Deviation/row.Target.Share + 0.5))
}

func (row *Row) topText() string {
	if row.Top == nil {
		return "-"
	}
	return fmt.Sprintf("%s (%s)", escape.String(row.Top.String()), row.Top.ShareText("±"))
}

// WriteTable writes the report for people.
func (r *Report) WriteTable(out io.Writer) error {
	columns := r.columns()
	header, numbers := []string{}, make(map[int]bool)
	for i, c := range columns {
		header = append(header, c.name)
		numbers[i] = c.number
	}
	var drawn bytes.Buffer
	table := plainTable(&drawn, header, numbers)
	for i := range r.Rows {
		cells := []string{}
		for _, c := range columns {
			cells = append(cells, c.cell(&r.Rows[i]))
		}
		if err := table.Append(cells); err != nil {
			return err
		}
	}
	if rest := r.restCells(columns); rest != nil {
		if err := table.Append(rest); err != nil {
			return err
		}
	}
	if err := table.Render(); err != nil {
		return err
	}
	var text bytes.Buffer
	if len(r.Rows) == 0 {
		drawn.Reset()
		text.WriteString("no calls\n")
	}
	for line := range strings.Lines(drawn.String()) {
		text.WriteString(strings.TrimRight(strings.TrimPrefix(line, " "), " \n") + "\n")
	}
	fmt.Fprintf(&text, "\n%s\n", r.Account.Line(r.Seconds))
	_, err := out.Write(text.Bytes())
	return err
}

// restCells are those of the line for what is in no row, nil if there is nothing.
func (r *Report) restCells(columns []column) (cells []string) {
	if r.Rest.Calls() == 0 {
		return nil
	}
	for i, c := range columns {
		text := ""
		switch c.name {
		case "CALLS":
			text = Grouped(r.Rest.Calls())
		case "PER S":
			text = r.perSecond(r.Rest.Calls())
		case "FAILED":
			text = Grouped(r.Rest.Failed())
		default:
			if i == 0 {
				text = r.restName()
			}
		}
		cells = append(cells, text)
	}
	return cells
}

func (r *Report) restName() string {
	if r.Others == 0 {
		return "(other)"
	}
	return fmt.Sprintf("(%s more)", Grouped(uint64(r.Others)))
}

// Line says what became of every call.
func (a *Account) Line(seconds float64) string {
	line := fmt.Sprintf("%.1f s: %s calls = %s counted + %s filtered + %s other + %s lost", seconds,
		Grouped(a.All()), Grouped(a.Counted), Grouped(a.Filtered), Grouped(a.Other), Grouped(a.Lost))
	if a.Missed > 0 {
		line += fmt.Sprintf("; at most %s missed", Grouped(a.Missed))
	}
	if a.Unfollowed > 0 {
		line += fmt.Sprintf("; %s processes not followed", Grouped(a.Unfollowed))
	}
	return line
}

// The JSON of a report. What does not apply is absent.
type (
	reportJSON struct {
		Time    string      `json:"time"`
		Seconds float64     `json:"seconds"`
		Account accountJSON `json:"account"`
		Rows    []rowJSON   `json:"rows"`
		Rest    *restJSON   `json:"rest,omitempty"`
	}
	accountJSON struct {
		Counted    uint64 `json:"counted"`
		Filtered   uint64 `json:"filtered"`
		Other      uint64 `json:"other"`
		Lost       uint64 `json:"lost"`
		Missed     uint64 `json:"missed,omitempty"`
		Unfollowed uint64 `json:"unfollowed,omitempty"`
	}
	containerJSON struct {
		ID        string `json:"id,omitempty"`
		Name      string `json:"name,omitempty"`
		Image     string `json:"image,omitempty"`
		Runtime   string `json:"runtime,omitempty"`
		Pod       string `json:"pod,omitempty"`
		Namespace string `json:"namespace,omitempty"`
	}
	rowJSON struct {
		// Container is absent for the host.
		Container *containerJSON `json:"container,omitempty"`
		Exe       string         `json:"exe,omitempty"`
		ExeBase64 string         `json:"exe_base64,omitempty"`
		Syscall   string         `json:"syscall,omitempty"`
		Operation string         `json:"operation,omitempty"`
		Error     string         `json:"error,omitempty"`
		UID       *uint32        `json:"uid,omitempty"`
		sumJSON
		Latency *latencyJSON `json:"latency_ns,omitempty"`
		Target  *targetJSON  `json:"target,omitempty"`
	}
	sumJSON struct {
		Calls     uint64            `json:"calls"`
		PerSecond float64           `json:"per_second"`
		Failed    uint64            `json:"failed"`
		By        map[string]uint64 `json:"operations"`
	}
	restJSON struct {
		Rows int `json:"rows"`
		sumJSON
	}
	latencyJSON struct {
		P50 int64 `json:"p50"`
		P99 int64 `json:"p99"`
	}
	targetJSON struct {
		Text      string  `json:"text"`
		Base64    string  `json:"text_base64,omitempty"`
		Error     string  `json:"error,omitempty"`
		Share     float64 `json:"share"`
		Deviation float64 `json:"plus_minus"`
	}
)

// WriteJSON writes the report as an object in a line.
func (r *Report) WriteJSON(out io.Writer) error {
	a := &r.Account
	object := reportJSON{
		Time: r.Time.UTC().Format(time.RFC3339Nano), Seconds: rounded(r.Seconds),
		Account: accountJSON{a.Counted, a.Filtered, a.Other, a.Lost, a.Missed, a.Unfollowed},
		Rows:    []rowJSON{},
	}
	for i := range r.Rows {
		object.Rows = append(object.Rows, r.rowJSON(&r.Rows[i]))
	}
	if r.Rest.Calls() > 0 {
		object.Rest = &restJSON{r.Others, r.sumJSON(&r.Rest)}
	}
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(object)
}

// rounded returns v with six digits behind the point.
func rounded(v float64) float64 {
	r, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'f', 6, 64), 64)
	return r
}

func (r *Report) sumJSON(s *Sum) sumJSON {
	object := sumJSON{Calls: s.Calls(), Failed: s.Failed(), By: make(map[string]uint64)}
	if r.Seconds > 0 {
		object.PerSecond = rounded(float64(object.Calls) / r.Seconds)
	}
	for o, n := range s.Operations {
		if n.Calls > 0 {
			object.By[Operation(o).String()] = n.Calls
		}
	}
	return object
}

func (r *Report) rowJSON(row *Row) rowJSON {
	object := rowJSON{sumJSON: r.sumJSON(&row.Sum)}
	for _, by := range r.By {
		switch by {
		case ByContainer:
			if c := row.Origin.Container(); c != nil {
				object.Container = &containerJSON{c.ID, c.Name, c.Image, c.Runtime, c.Pod, c.Namespace}
				if c.ID == "" {
					object.Container.Name = c.Label
				}
			}
		case ByProgram:
			object.Exe, object.ExeBase64 = row.Program.Path, base64Of(row.Program.Path)
		case BySyscall:
			object.Syscall = bpf.Syscalls[row.Syscall].Name
		case ByOperation:
			object.Operation = row.Operation().String()
		case ByError:
			object.Error = ErrorName(row.Error)
		case ByUser:
			object.UID = &row.UID
		}
	}
	if l := row.Latencies(); l != nil && r.Latency {
		object.Latency = &latencyJSON{int64(l.Quantile(0.5)), int64(l.Quantile(0.99))}
	}
	target := row.Target
	if target == nil {
		target = row.Top
	}
	if target != nil {
		object.Target = &targetJSON{target.Text, base64Of(target.Text), ErrorName(target.Error), rounded(target.Share), rounded(target.Deviation)}
	}
	return object
}

// base64Of returns the exact bytes of text that JSON cannot have, "" of other text.
func base64Of(text string) string {
	if utf8.ValidString(text) {
		return ""
	}
	return base64.StdEncoding.EncodeToString([]byte(text))
}
