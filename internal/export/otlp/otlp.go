// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package otlp sends events to an OpenTelemetry Collector, or a store that speaks the
// same: OTLP over HTTP with protobuf, one resource for each container.
//
// It is written by hand with protowire and not with OpenTelemetry's SDK, because the
// SDK takes fifty times as long for a record and drops without counting. Here every
// record that was made is sent, rejected by the server, or dropped, and counted as such.
package otlp
