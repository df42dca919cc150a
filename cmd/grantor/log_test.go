package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/grantorhq/grantor/config"
)

// both lets our handler and slog's own write the same record.
func both(t require.TestingT, asJSON bool, r slog.Record) (ours, theirs string) {
	var a, b bytes.Buffer
	options := &slog.HandlerOptions{Level: slog.LevelInfo}
	own := slog.Handler(slog.NewTextHandler(&b, options))
	if asJSON {
		own = slog.NewJSONHandler(&b, options)
	}
	require.NoError(t, newLogHandler(&a, slog.LevelInfo, asJSON).Handle(context.Background(), r))
	require.NoError(t, own.Handle(context.Background(), r))
	return a.String(), b.String()
}

func anyText() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringMatching(`[ -~]{0,12}`), rapid.String(), rapid.SampledFrom([]string{"", " ", "=", "a b", "a=b", `"`, `\`, `a\b`, `a \b`, "<&>", "\x7f", "\u2028", "\xff", "\n", "é", "\u202e"}),
	)
}

func anyAttr() *rapid.Generator[slog.Attr] {
	return rapid.Custom(func(t *rapid.T) slog.Attr {
		key := rapid.OneOf(rapid.StringMatching(`[a-z_]{1,8}`), anyText()).Draw(t, "key")
		number := rapid.OneOf(rapid.Int64(), rapid.SampledFrom([]int64{0, 1, -1, math.MaxInt64, math.MinInt64})).Draw(t, "number")
		return rapid.SampledFrom([]slog.Attr{
			slog.String(key, anyText().Draw(t, "text")), slog.String(key, anyText().Draw(t, "text")), slog.Int64(key, number), slog.Duration(key, time.Duration(number)),
			slog.Bool(key, number > 0), slog.Any(key, errors.New(anyText().Draw(t, "error"))), slog.Group(key, slog.Int64(key, number)),
			slog.Any(key, nil), slog.Any("", nil), slog.Float64(key, 1.5), slog.Uint64(key, 7),
		}).Draw(t, "attr")
	})
}

// Whatever is logged, the line is the one that slog's own handler writes.
func TestLog_writes_what_slog_writes(t *testing.T) {
	t.Parallel()
	zones := []*time.Location{time.UTC, time.FixedZone("", 5*3600+1800), time.FixedZone("", -3600)}
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(-62135596800, 253402300799).Draw(t, "seconds"), rapid.SampledFrom([]int64{0, 1, 999, 1_000_000, 120_000_000, 999_999_999}).Draw(t, "nanos"))
		r := slog.NewRecord(at.In(rapid.SampledFrom(zones).Draw(t, "zone")), slog.Level(rapid.IntRange(-8, 12).Draw(t, "level")), anyText().Draw(t, "message"), 0)
		if rapid.IntRange(0, 20).Draw(t, "no time") == 0 {
			r.Time = time.Time{}
		}
		r.AddAttrs(rapid.SliceOfN(anyAttr(), 0, 8).Draw(t, "attributes")...)
		for _, asJSON := range []bool{true, false} {
			ours, theirs := both(t, asJSON, r)
			require.Equal(t, theirs, ours)
		}
	})
}

// A line is one line, whatever a value says, and JSON is an object with the value in it.
func FuzzLog(f *testing.F) {
	for _, text := range []string{"", "evil", "evil\n{\"level\":\"ERROR\"}", `evil","level":"ERROR`, "evil level=ERROR", "evil\u2028", "\xff", "\\"} {
		f.Add("reason", text)
		f.Add(text, "x")
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		r := slog.NewRecord(time.Unix(1790000000, 0), slog.LevelInfo, "request", 0)
		r.AddAttrs(slog.String(key, value))
		for _, asJSON := range []bool{true, false} {
			ours, theirs := both(t, asJSON, r)
			require.Equal(t, theirs, ours)
			require.Equal(t, 1, strings.Count(ours, "\n"))
			if asJSON {
				require.True(t, json.Valid([]byte(ours)), "%s", ours)
			}
		}
	})
}

func requestRecord() slog.Record {
	r := slog.NewRecord(time.Unix(1790000000, 123456789), slog.LevelInfo, "request", 0)
	r.AddAttrs(slog.String("id", "abcdefghijklmnop"), slog.String("method", "POST"), slog.String("route", "/oauth2/token"), slog.Int("status", 200),
		slog.Duration("took", 123456), slog.String("address", "127.0.0.1"), slog.String("client", "c1"), slog.String("grant", "client_credentials"), slog.String("outcome", "session revoked"))
	return r
}

// The line of a request is one that is written by hand: otherwise this file is for nothing.
func TestLog_writes_requests_by_hand(t *testing.T) { //nolint:paralleltest // testing.AllocsPerRun counts those of everybody
	r := requestRecord()
	for _, format := range []string{"text", "json"} {
		h := newLog(io.Discard, config.Config{LogFormat: format, LogLevel: "warn"}).Handler().(*logHandler)
		_, plain := h.append(nil, r)
		require.True(t, plain)
		require.False(t, h.Enabled(t.Context(), slog.LevelInfo), "the setting log_level")
		require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _ = h.Handle(t.Context(), r) }), 2.0)
	}
}

// Lines of both ways do not run into each other, and a logger with attributes keeps them.
func TestLog_Concurrent(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := newLog(&out, config.Config{LogFormat: "json", LogLevel: "info"})
	var busy sync.WaitGroup
	for range 8 {
		busy.Go(func() {
			for range 50 {
				log.Info("plain", "a", "b")
				log.Info("not plain", "a", []string{"b\n"})
				log.With("c", "d").Info("with", "a", "b")
			}
		})
	}
	busy.Wait()
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	require.Len(t, lines, 8*50*3)
	for _, line := range lines {
		var fields map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &fields), line)
		require.Contains(t, fields, "a")
		if fields["msg"] == "with" {
			require.Equal(t, "d", fields["c"])
		}
	}
}

func BenchmarkLog(b *testing.B) {
	r := requestRecord()
	for name, h := range map[string]slog.Handler{
		"text": newLogHandler(io.Discard, slog.LevelInfo, false), "json": newLogHandler(io.Discard, slog.LevelInfo, true),
		"slog text": slog.NewTextHandler(io.Discard, nil), "slog json": slog.NewJSONHandler(io.Discard, nil),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = h.Handle(b.Context(), r)
			}
		})
	}
}
