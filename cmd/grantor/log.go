package main

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/grantorhq/grantor/config"
)

func newLog(w io.Writer, cfg config.Config) *slog.Logger {
	log, _ := newLevelledLog(w, cfg)
	return log
}

// newLevelledLog also answers the level, which may be set at any time.
func newLevelledLog(w io.Writer, cfg config.Config) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	setLevel(level, cfg)
	return slog.New(newLogHandler(w, level, cfg.LogFormat == "json")), level
}

// setLevel relies on the check of the setting: its words are those of slog.
func setLevel(level *slog.LevelVar, cfg config.Config) {
	_ = level.UnmarshalText([]byte(cfg.LogLevel))
}

// logHandler writes by hand the lines that every request has, in a third of the time, and
// leaves to slog's own handler whatever is not plain: what needs an escape, a group, any
// other kind of value. The bytes are the same, so nothing is escaped in two ways.
type logHandler struct {
	slog.Handler // slog's own; With and WithGroup go on with it alone
	out          io.Writer
	json         bool
	buffers      sync.Pool
}

func newLogHandler(w io.Writer, level slog.Leveler, json bool) *logHandler {
	h := &logHandler{out: &inTurn{out: w}, json: json, buffers: sync.Pool{New: func() any { return new([]byte) }}}
	options := &slog.HandlerOptions{Level: level}
	if json {
		h.Handler = slog.NewJSONHandler(h.out, options)
	} else {
		h.Handler = slog.NewTextHandler(h.out, options)
	}
	return h
}

// inTurn lets one line be written at a time, whoever made it.
type inTurn struct {
	mu  sync.Mutex
	out io.Writer
}

func (w *inTurn) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(line)
}

func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	buffer := h.buffers.Get().(*[]byte)
	defer h.buffers.Put(buffer)
	line, plain := h.append((*buffer)[:0], r)
	*buffer = line
	if !plain {
		return h.Handler.Handle(ctx, r)
	}
	_, err := h.out.Write(line)
	return err
}

// append reports false when the record is not plain.
func (h *logHandler) append(line []byte, r slog.Record) (_ []byte, plain bool) {
	if year := r.Time.Year(); r.Time.IsZero() || year < 1 || year > 9999 {
		return line, false
	}
	if h.json {
		line = append(line, `{"time":"`...)
		line = r.Time.AppendFormat(line, time.RFC3339Nano)
		line = append(line, '"')
	} else {
		line = append(line, "time="...)
		line = appendMillis(line, r.Time)
	}
	line, plain = h.text(line, slog.LevelKey, r.Level.String())
	if plain {
		line, plain = h.text(line, slog.MessageKey, r.Message)
	}
	r.Attrs(func(a slog.Attr) bool {
		if plain {
			line, plain = h.attr(line, a)
		}
		return plain
	})
	if h.json {
		line = append(line, '}')
	}
	return append(line, '\n'), plain
}

// appendMillis is RFC 3339 with always three digits behind the point. The layout that says
// so is formatted slowly, so a fourth digit, which is never 0, is written and taken away.
func appendMillis(line []byte, t time.Time) []byte {
	end := len(line) + len("2006-01-02T15:04:05.000")
	line = t.Truncate(time.Millisecond).Add(time.Millisecond/10).AppendFormat(line, time.RFC3339Nano)
	return append(line[:end], line[end+1:]...)
}

func (h *logHandler) attr(line []byte, a slog.Attr) ([]byte, bool) {
	switch v := a.Value; v.Kind() {
	case slog.KindString:
		return h.text(line, a.Key, v.String())
	case slog.KindInt64:
		line, plain := h.key(line, a.Key)
		return strconv.AppendInt(line, v.Int64(), 10), plain
	case slog.KindDuration:
		line, plain := h.key(line, a.Key)
		if h.json {
			return strconv.AppendInt(line, int64(v.Duration()), 10), plain
		}
		return append(line, v.Duration().String()...), plain
	}
	return line, false
}

func (h *logHandler) key(line []byte, key string) ([]byte, bool) {
	if safe, bare := looks(key); !safe || !bare {
		return line, false
	}
	if h.json {
		line = append(line, `,"`...)
		line = append(line, key...)
		return append(line, `":`...), true
	}
	line = append(line, ' ')
	line = append(line, key...)
	return append(line, '='), true
}

func (h *logHandler) text(line []byte, key, value string) ([]byte, bool) {
	line, plain := h.key(line, key)
	safe, bare := looks(value)
	if bare && !h.json {
		return append(line, value...), plain && safe
	}
	line = append(line, '"')
	line = append(line, value...)
	return append(line, '"'), plain && safe
}

// looks says of a text whether it stands between quotes as it is (printable ASCII with
// nothing to escape), and whether slog's text handler would leave the quotes away.
func looks(text string) (safe, bare bool) {
	bare = text != ""
	for i := range len(text) {
		switch c := text[i]; {
		case c < ' ' || c > '~', c == '"', c == '\\':
			return false, false
		case c == ' ', c == '=':
			bare = false
		}
	}
	return true, bare
}
