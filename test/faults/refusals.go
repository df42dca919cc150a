//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// refusals are what PostgreSQL may answer instead of doing what it was asked. The link
// says it in PostgreSQL's place, for statements that it then does not pass on.

// farewells end the session: they come as FATAL.
func farewells() []string {
	return []string{"08000", "08001", "08003", "08004", "08006", "08007", "08P01", "57P01", "57P02", "57P03", "57P04", "57P05"}
}

// shortcomings end the statement only.
func shortcomings() []string {
	return []string{"53000", "53100", "53200", "53300", "53400", "57000", "57014", "25006"}
}

// rollbacks ask for another try.
func rollbacks() []string { return []string{"40001", "40P01"} }

// refuse answers what a client of PostgreSQL gets for a whole question that executes
// something, nil for one that must be passed on, and whether the session ends with it.
// The session must not be in the middle of a transaction.
func (l *link) refuse(question []byte) (answer []byte, ends bool) {
	codes := l.codes.Load()
	if codes == nil || !executes(question) || !l.chance.once(int(l.refuseOne.Load())) {
		return nil, false
	}
	code := (*codes)[l.chance.below(len(*codes))]
	ends = slices.Contains(farewells(), code)
	severity := "ERROR"
	if ends {
		severity = "FATAL"
	}
	fields := "S" + severity + "\x00V" + severity + "\x00C" + code + "\x00Msaid by make faults\x00\x00"
	answer = append(answer, 'E')
	answer = binary.BigEndian.AppendUint32(answer, uint32(len(fields)+4))
	answer = append(answer, fields...)
	if !ends {
		answer = append(answer, idle...)
	}
	l.refused.Add(1)
	return answer, ends
}

// idle is ReadyForQuery outside of a transaction.
const idle = "Z\x00\x00\x00\x05I"

// executes says whether these are whole messages, of which one executes a statement and
// only the last one is a Sync.
func executes(question []byte) bool {
	executed := false
	for len(question) >= 5 {
		kind, length := question[0], int(binary.BigEndian.Uint32(question[1:5]))
		if length < 4 || len(question) < length+1 {
			return false
		}
		question = question[length+1:]
		switch kind {
		case 'E':
			executed = true
		case 'S':
			return executed && len(question) == 0
		case 'B', 'D', 'P', 'C', 'H':
		default:
			return false
		}
	}
	return false
}

func endsIdle(answer []byte) bool { return bytes.HasSuffix(answer, []byte(idle)) }
