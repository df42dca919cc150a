package users_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/users"
)

// known is the password of all foreign hashes below. It is not ASCII on purpose.
const known = "Correct Höse 1"

func TestForeignHashes(t *testing.T) {
	p := newPasswords(t, tiny())
	for name, hash := range map[string]string{
		"argon2id, argon2-cffi":  "$argon2id$v=19$m=64,t=2,p=2$SdWVtaLpCl4RU8H6Ds9w7g$yxMC/VFxKgvAmLtkNyfOpsmpeTo29HzClGxQDNSAvDc",
		"argon2i, argon2-cffi":   "$argon2i$v=19$m=64,t=2,p=2$WYB3Nt/9M2bQ5p4yBE+Ckw$Vb5Abs6iezCmCZGOslax6DpCSvOhheV0vNOlR6492Gw",
		"bcrypt 2b, py-bcrypt":   "$2b$04$MOxmu7Afg8/pAcAghyL9oO1Pav6BLaR8cb.FZAHEMrL8xyUHfWQhW",
		"bcrypt 2a, py-bcrypt":   "$2a$04$PCBhn08dWV8uL6i.hA5mAO2oVad9v7JT0Pz7T5fmCszjN0ij30DfG",
		"bcrypt 2y, libxcrypt":   "$2y$04$abcdefghijklmnopqrstuuTFgO3u8iIfccbkRtVh.Z1xoXIiJVBje",
		"pbkdf2-sha256, passlib": "$pbkdf2-sha256$1000$GCNECGEMgRDC.F8LodR6Dw$NfdWZbLVn6Rpk.szYoEWU0uCk9ZHFVEgceK5ZWnYJPc",
		"pbkdf2-sha512, passlib": "$pbkdf2-sha512$1000$dy4lpHSuNSbk3Pv/P.f8fw$xwJh4k0TD5NI0A43ZnulGJ5Zf6UZlR1Se/B0gbMzuXPWEHL/uWbh/UhnYP/08md7ydVjQ/2y0G.NO57Rce.rCQ",
		"pbkdf2 sha1, passlib":   "$pbkdf2$1000$ba01JoTw3juHMGbMubf2ng$25Fmo8oje9PBh3KIsA3Aw9soPMk",
		"scrypt, passlib":        "$scrypt$ln=8,r=8,p=1$P+ec0zqH0BqDkLLWOmeMkQ$3AEE26BX74u847He71l/2LmH02Z9g0mTvI4BYjYP7Bs",
		"scrypt p=2, node":       "$scrypt$ln=8,r=8,p=2$MDEyMzQ1Njc4OWFiY2RlZg$zpyiwICZrR0azOFcaTwQLNgHsRIvIunD1A3vVvfUwFM",
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, p.CheckHash(hash))
			ok, outdated, err := p.Verify(context.Background(), hash, known)
			require.NoError(t, err)
			require.True(t, ok)
			require.True(t, outdated, "it is to be made anew")
			for _, wrong := range []string{"", known + " ", strings.ToLower(known), known[:len(known)-1]} {
				ok, outdated, err = p.Verify(context.Background(), hash, wrong)
				require.NoError(t, err)
				require.False(t, ok)
				require.False(t, outdated)
			}
		})
	}
}

// bcrypt reads 72 bytes. Who had a longer password elsewhere still has it here.
func TestForeignBcryptOfALongPassword(t *testing.T) {
	const hash = "$2b$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i" // libxcrypt, 80 times x
	ok, outdated, err := newPasswords(t, tiny()).Verify(context.Background(), hash, strings.Repeat("x", 80))
	require.NoError(t, err)
	require.True(t, ok)
	require.True(t, outdated)
}

func TestUnknownHashes(t *testing.T) {
	const salt, key = "SdWVtaLpCl4RU8H6Ds9w7g", "yxMC/VFxKgvAmLtkNyfOpsmpeTo29HzClGxQDNSAvDc"
	p := newPasswords(t, tiny())
	for name, hash := range map[string]string{
		"plain text":              known,
		"plaintext of go-crypt":   "$plaintext$" + known,
		"base64 of go-crypt":      "$base64$Q29ycmVjdCBIw7ZzZSAx",
		"md5crypt":                "$1$saltsalt$CnbZKqKzIOuydLuUBKCO40",
		"sha512crypt":             "$6$rounds=1000$saltsalt$c9rYMam3v3iW/UDoerwwch5VvBn1cBgDQmJdNgRW.wdyA9rNkal/xfmsdyQSRDt73fmMdOeQYDPJ30GtuTq/h.",
		"yescrypt":                "$y$j75$abcdefghijklmnop$USaGe4nQVzItFGuML1dsXKPVHOvY.TQyZiNfkezS9A9",
		"bcrypt with the 2x bug":  "$2x$04$abcdefghijklmnopqrstuuXTOK46sn8y9alAWOG7fT.RluB7kEn6e",
		"bcrypt without version":  "$2$04$abcdefghijklmnopqrstuuXTOK46sn8y9alAWOG7fT.RluB7kEn6e",
		"argon2d":                 "$argon2d$v=19$m=64,t=2,p=2$psJIwcxcrQYu1BxxhHe8YQ$NAaNGxv8VC3frwO3P/dAoUIr3F0F0Fr8GnyzsxiLMYw",
		"argon2 of version 16":    "$argon2id$v=16$m=64,t=2,p=2$" + salt + "$" + key,
		"argon2 without version":  "$argon2id$m=64,t=2,p=2$" + salt + "$" + key,
		"argon2 of 4 GiB":         "$argon2id$v=19$m=4194304,t=1,p=1$" + salt + "$" + key,
		"argon2 of 2^32 KiB":      "$argon2id$v=19$m=4294967295,t=1,p=1$" + salt + "$" + key,
		"argon2 of a million":     "$argon2id$v=19$m=1024,t=1000000,p=1$" + salt + "$" + key,
		"argon2 of 1025 passes":   "$argon2id$v=19$m=1024,t=1025,p=1$" + salt + "$" + key,
		"argon2 of 255 lanes":     "$argon2id$v=19$m=8192,t=1,p=255$" + salt + "$" + key,
		"argon2 of no lanes":      "$argon2id$v=19$m=64,t=1,p=0$" + salt + "$" + key,
		"argon2 of no passes":     "$argon2id$v=19$m=64,t=0,p=1$" + salt + "$" + key,
		"argon2 of little memory": "$argon2id$v=19$m=15,t=1,p=2$" + salt + "$" + key,
		"argon2 with a short key": "$argon2id$v=19$m=64,t=1,p=1$" + salt + "$yxMC",
		"argon2 with no key":      "$argon2id$v=19$m=64,t=1,p=1$" + salt + "$",
		"argon2 with no salt":     "$argon2id$v=19$m=64,t=1,p=1$$" + key,
		"argon2 and a line break": "$argon2id$v=19$m=64,t=1,p=1$" + salt + "$" + key + "\n",
		"argon2 of bad base64":    "$argon2id$v=19$m=64,t=1,p=1$" + salt + "$" + key + "AA",
		"bcrypt of 2^16":          "$2b$16$MOxmu7Afg8/pAcAghyL9oO1Pav6BLaR8cb.FZAHEMrL8xyUHfWQhW",
		"bcrypt of 2^31":          "$2b$31$MOxmu7Afg8/pAcAghyL9oO1Pav6BLaR8cb.FZAHEMrL8xyUHfWQhW",
		"bcrypt of 2^3":           "$2b$03$MOxmu7Afg8/pAcAghyL9oO1Pav6BLaR8cb.FZAHEMrL8xyUHfWQhW",
		"bcrypt cut":              "$2b$04$MOxmu7Afg8/pAcAghyL9oO1Pav6BLaR8cb.FZAHEMrL8xyUHfWQh",
		"scrypt of 1 GiB":         "$scrypt$ln=20,r=8,p=1$" + salt + "$" + key,
		"scrypt of 2^63":          "$scrypt$ln=63,r=8,p=1$" + salt + "$" + key,
		"scrypt of many lanes":    "$scrypt$ln=16,r=8,p=100$" + salt + "$" + key,
		"scrypt of no blocks":     "$scrypt$ln=8,r=0,p=1$" + salt + "$" + key,
		"scrypt of no lanes":      "$scrypt$ln=8,r=8,p=0$" + salt + "$" + key,
		"scrypt with short key":   "$scrypt$ln=8,r=8,p=1$" + salt + "$yxMC",
		"pbkdf2 of 9999999":       "$pbkdf2-sha256$9999999$GCNECGEMgRDC.F8LodR6Dw$NfdWZbLVn6Rpk.szYoEWU0uCk9ZHFVEgceK5ZWnYJPc",
		"pbkdf2 of none":          "$pbkdf2-sha256$0$GCNECGEMgRDC.F8LodR6Dw$NfdWZbLVn6Rpk.szYoEWU0uCk9ZHFVEgceK5ZWnYJPc",
		"pbkdf2 with a short key": "$pbkdf2-sha256$1000$GCNECGEMgRDC.F8LodR6Dw$NfdW",
		"LDAP prefix":             "{CRYPT}$2b$04$MOxmu7Afg8/pAcAghyL9oO1Pav6BLaR8cb.FZAHEMrL8xyUHfWQhW",
		"a long one":              "$argon2id$v=19$m=64,t=1,p=1$" + salt + "$" + strings.Repeat(key, 20),
	} {
		t.Run(name, func(t *testing.T) {
			ok, outdated, err := p.Verify(context.Background(), hash, known)
			require.ErrorIs(t, err, users.ErrUnknownHash)
			require.False(t, ok)
			require.False(t, outdated)
			require.ErrorIs(t, p.CheckHash(hash), users.ErrUnknownHash)
			require.NotContains(t, err.Error(), hash)
		})
	}
	require.ErrorIs(t, p.CheckHash(""), users.ErrUnknownHash, "Verify knows it, an import must not bring it")
}

// The dearest parameters in wide use must come in.
func TestAffordableHashes(t *testing.T) {
	const salt, key = "SdWVtaLpCl4RU8H6Ds9w7g", "yxMC/VFxKgvAmLtkNyfOpsmpeTo29HzClGxQDNSAvDc"
	p := newPasswords(t, tiny())
	for name, hash := range map[string]string{
		"argon2-cffi":           "$argon2id$v=19$m=65536,t=3,p=4$" + salt + "$" + key,
		"PHP":                   "$argon2id$v=19$m=65536,t=4,p=1$" + salt + "$" + key,
		"libsodium moderate":    "$argon2id$v=19$m=262144,t=3,p=1$" + salt + "$" + key,
		"passlib scrypt":        "$scrypt$ln=16,r=8,p=1$" + salt + "$" + key,
		"OWASP scrypt":          "$scrypt$ln=17,r=8,p=1$" + salt + "$" + key,
		"OWASP pbkdf2":          "$pbkdf2-sha256$600000$GCNECGEMgRDC.F8LodR6Dw$NfdWZbLVn6Rpk.szYoEWU0uCk9ZHFVEgceK5ZWnYJPc",
		"bcrypt, a slow server": "$2y$14$MOxmu7Afg8/pAcAghyL9oO1Pav6BLaR8cb.FZAHEMrL8xyUHfWQhW",
	} {
		require.NoError(t, p.CheckHash(hash), name)
	}
}
