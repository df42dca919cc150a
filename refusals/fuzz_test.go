package refusals_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/refusals"
)

// Whatever a record holds, reading it ends well, and what was read is read again from
// what it is written as.
func FuzzDecode(f *testing.F) {
	for _, r := range each() {
		f.Add(refusals.Encode(r))
	}
	f.Add([]byte{})
	f.Add(make([]byte, 100))
	f.Fuzz(func(t *testing.T, record []byte) {
		r, err := refusals.Decode(record)
		if err != nil {
			require.ErrorIs(t, err, refusals.ErrUnreadable)
			return
		}
		_ = r.Reason()
		_ = refusals.Explain(r, refusals.Known{})
		again, err := refusals.Decode(refusals.Encode(r))
		require.NoError(t, err)
		require.Equal(t, r.Cause, again.Cause)
		require.Equal(t, r.Request, again.Request)
		require.Equal(t, r.At, again.At)
	})
}

// Whatever is pasted, only a whole reference is found in it.
func FuzzFind(f *testing.F) {
	f.Add("ge1_")
	f.Add("%67e1_ %")
	f.Add("kx5cvu2j6sgbd4eq")
	f.Fuzz(func(t *testing.T, pasted string) {
		found, err := refusals.Find(pasted)
		if err == nil {
			require.Len(t, found, refusals.Length)
			require.Equal(t, "ge1_", found[:4])
		}
	})
}
