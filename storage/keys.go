package storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/grantorhq/grantor/keys"
)

// ErrSecrets: the signing keys were sealed by a server secret that was not given.
var ErrSecrets = errors.New("the server secrets do not open the signing keys of this database")

type keyRow struct {
	ID         string `gorm:"primaryKey"`
	Algorithm  string
	Ordinal    int64
	Sealed     []byte
	CreatedAt  int64 `gorm:"autoCreateTime:false"`
	ActivateAt *int64
}

func (keyRow) TableName() string { return "signing_keys" }

// SigningKeys reads the keys and opens them. The first caller on an empty database
// makes the first set, however many start at once. It answers ErrSecrets.
func (s *Store) SigningKeys(ctx context.Context, secrets *keys.Secrets) (*keys.Set, error) {
	rows, err := s.keyRows(ctx)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		if err := s.bootstrapKeys(ctx, secrets); err != nil && !errors.Is(err, errDuplicate) {
			return nil, err
		}
		// Whoever won, its keys are the ones that count.
		if rows, err = s.keyRows(ctx); err != nil {
			return nil, err
		}
	}
	list := make([]keys.Key, 0, len(rows))
	for _, row := range rows {
		key, _, err := openKey(secrets, row)
		if err != nil {
			return nil, err
		}
		list = append(list, key)
	}
	return keys.NewSet(list)
}

func (s *Store) keyRows(ctx context.Context) (rows []keyRow, err error) {
	err = s.unit(ctx, "read signing keys", func(ctx context.Context) error {
		rows = nil
		return s.read.WithContext(ctx).Order("algorithm, ordinal").Find(&rows).Error
	})
	return rows, err
}

func (s *Store) bootstrapKeys(ctx context.Context, secrets *keys.Secrets) error {
	list, err := keys.Bootstrap(s.rand, s.now())
	if err != nil {
		return err
	}
	rows := make([]keyRow, len(list))
	for i, key := range list {
		if rows[i], err = s.sealKey(secrets, key); err != nil {
			return err
		}
	}
	return s.unit(ctx, "store first signing keys", func(ctx context.Context) error {
		return s.write.WithContext(ctx).Create(&rows).Error
	})
}

func (s *Store) sealKey(secrets *keys.Secrets, key keys.Key) (keyRow, error) {
	private, err := key.MarshalPrivate()
	if err != nil {
		return keyRow{}, err
	}
	sealed, err := secrets.Seal(s.rand, private, []byte(key.ID))
	if err != nil {
		return keyRow{}, err
	}
	return keyRow{
		ID: key.ID, Algorithm: key.Algorithm, Ordinal: key.Ordinal, Sealed: sealed,
		CreatedAt: micros(key.CreatedAt), ActivateAt: optional(key.ActivateAt),
	}, nil
}

// openKey also tells whether the current secret has sealed it.
func openKey(secrets *keys.Secrets, row keyRow) (key keys.Key, current bool, err error) {
	private, current, err := secrets.Open(row.Sealed, []byte(row.ID))
	if err != nil {
		return keys.Key{}, false, fmt.Errorf("%w: %w", ErrSecrets, err)
	}
	key, err = keys.ParsePrivate(row.ID, row.Algorithm, private)
	if err != nil {
		return keys.Key{}, false, fmt.Errorf("%w: %w", ErrSecrets, err)
	}
	key.Ordinal, key.CreatedAt, key.ActivateAt = row.Ordinal, fromMicros(row.CreatedAt), fromOptional(row.ActivateAt)
	return key, current, nil
}

// ResealKeys seals with the current server secret what an older one has sealed, so that
// the older one can be taken away. It is for the start of a server and for RotateKeys,
// never for reading: replicas whose secrets are in another order would undo each other's
// work for ever, each change being the next one's reason to read. It answers ErrSecrets.
func (s *Store) ResealKeys(ctx context.Context, secrets *keys.Secrets) error {
	rows, err := s.keyRows(ctx)
	if err != nil {
		return err
	}
	for _, row := range rows {
		key, current, err := openKey(secrets, row)
		if err != nil {
			return err
		}
		if current {
			continue
		}
		again, err := s.sealKey(secrets, key)
		if err != nil {
			return err
		}
		if _, err := s.exec(ctx, "seal signing key again", `UPDATE signing_keys SET sealed = $3 WHERE id = $1 AND sealed = $2`, row.ID, row.Sealed, again.Sealed); err != nil {
			return err
		}
	}
	return nil
}

// RotateKeys plans the published next key to sign, and publishes a new next one;
// "" means every algorithm. Two administrators at once rotate once or twice, never
// half.
func (s *Store) RotateKeys(ctx context.Context, secrets *keys.Secrets, algorithm string) (*keys.Set, error) {
	if err := s.ResealKeys(ctx, secrets); err != nil {
		return nil, err
	}
	algorithms := keys.Algorithms()
	if algorithm != "" {
		algorithms = []string{algorithm}
	}
	for try := 1; ; try++ {
		err := s.rotateKeys(ctx, secrets, algorithms)
		if err == nil {
			return s.SigningKeys(ctx, secrets)
		}
		if !errors.Is(err, errDuplicate) || try == attempts {
			return nil, err
		}
	}
}

func (s *Store) rotateKeys(ctx context.Context, secrets *keys.Secrets, algorithms []string) error {
	set, err := s.SigningKeys(ctx, secrets)
	if err != nil {
		return err
	}
	plans := make([]keys.Plan, len(algorithms))
	rows := make([]keyRow, len(algorithms))
	for i, algorithm := range algorithms {
		if plans[i], err = set.PlanRotation(s.rand, algorithm, s.now()); err != nil {
			return err
		}
		if rows[i], err = s.sealKey(secrets, plans[i].New); err != nil {
			return err
		}
	}
	return s.transaction(ctx, "rotate signing keys", func(tx *gorm.DB) error {
		for i, plan := range plans {
			if err := tx.Exec(`UPDATE signing_keys SET activate_at = ? WHERE id = ? AND activate_at IS NULL`, micros(plan.At), plan.Activate).Error; err != nil {
				return err
			}
			// (algorithm, ordinal) is unique: whoever rotated in between makes this fail, and all of it is undone.
			if err := tx.Create(&rows[i]).Error; err != nil {
				return err
			}
		}
		return nil
	})
}

// deleteGoneKeys forgets keys that nothing unexpired was signed with.
func (s *Store) deleteGoneKeys(ctx context.Context, now time.Time) (int64, error) {
	// A key is superseded when a later one of its algorithm became active; see keys.Set.State.
	const sql = `DELETE FROM signing_keys WHERE EXISTS (SELECT 1 FROM signing_keys s
  WHERE s.algorithm = signing_keys.algorithm AND s.ordinal > signing_keys.ordinal AND s.activate_at <= $1)`
	return s.exec(ctx, "delete gone signing keys", sql, micros(now.Add(-keys.Keep)))
}
