// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package main

import (
	"os"
	"testing"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
)

// What copenclose encodes by hand is what the Collector's own decoder reads.
func TestRequest(t *testing.T) {
	text, err := os.ReadFile("../../../internal/export/otlp/testdata/request.binpb")
	if err != nil {
		t.Fatal(err)
	}
	request := plogotlp.NewExportRequest()
	if err := request.UnmarshalProto(text); err != nil {
		t.Fatal(err)
	}
	all := request.Logs()
	if all.ResourceLogs().Len() != 2 || all.LogRecordCount() != 3 {
		t.Fatalf("%d resources, %d records", all.ResourceLogs().Len(), all.LogRecordCount())
	}
	of := all.ResourceLogs().At(0)
	if id, ok := of.Resource().Attributes().Get("k8s.pod.uid"); !ok || id.Str() != "5ae1" {
		t.Errorf("the resource has %v", of.Resource().Attributes().AsRaw())
	}
	record := of.ScopeLogs().At(0).LogRecords().At(0)
	if record.EventName() != "copenclose.open" || record.SeverityNumber() != plog.SeverityNumberWarn || record.Timestamp() != 1_001_000 ||
		record.ObservedTimestamp() != 5_000_000 || record.Body().Str() != `/etc/\xffpasswd` {
		t.Errorf("got %s at %d, severity %d: %q", record.EventName(), record.Timestamp(), record.SeverityNumber(), record.Body().Str())
	}
	got := record.Attributes().AsRaw()
	for key, want := range map[string]any{
		"process.pid": int64(7), "copenclose.dirfd": int64(-100), "error.type": "ENOENT", "file.path": "/etc/\uFFFDpasswd",
	} {
		if got[key] != want {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
	if bytes, _ := got["file.path.bytes"].([]byte); string(bytes) != "/etc/\xffpasswd" {
		t.Errorf("file.path.bytes is %v", got["file.path.bytes"])
	}
	if flags, _ := got["copenclose.flags"].([]any); len(flags) != 3 || flags[1] != "O_CREAT" {
		t.Errorf("copenclose.flags is %v", got["copenclose.flags"])
	}
}
