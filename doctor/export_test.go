package doctor

import "context"

// Leave makes guests as a run does, and is killed.
func Leave(ctx context.Context, p Patient) error {
	_, err := p.invite(ctx)
	return err
}

// Strength is what the checks of secrets go by.
func Strength(secret string) float64 { return strength(secret) }
