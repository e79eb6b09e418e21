// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package docs holds what is documented in a form that programs read.
package docs

import _ "embed"

// EventSchema is the JSON Schema of a line of copenclose -o json.
//
//go:embed event.schema.json
var EventSchema []byte

// FdsSchema is that of a line of copenclose fds -o json.
//
//go:embed fds.schema.json
var FdsSchema []byte

// LeaksSchema is that of a line of copenclose leaks -o json.
//
//go:embed leaks.schema.json
var LeaksSchema []byte
