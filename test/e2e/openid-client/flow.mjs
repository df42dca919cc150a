// What a web application does with openid-client, from discovery to signing out.
// openid_client_test.go starts it and is the browser: a line with "go" asks it to visit an
// address, and a line comes back that says where the person arrived. The last line says
// what was found.
//
// Its one argument is the client as JSON: issuer, client_id, client_secret, auth,
// redirect_uri, post_logout_redirect_uri, response_mode, metadata.
import * as client from 'openid-client'
import assert from 'node:assert/strict'
import { createInterface } from 'node:readline'

const app = JSON.parse(process.argv[2])
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()

// visit is a person's browser, until it leaves the server: an address, or a form that is posted there.
async function visit(address) {
  console.log(JSON.stringify({ go: address.href }))
  const { value } = await lines.next()
  const { at, form } = JSON.parse(value)
  return form ? new Request(at, { method: 'POST', body: new URLSearchParams(form) }) : new URL(at)
}

const auth = { basic: client.ClientSecretBasic, post: client.ClientSecretPost, none: client.None }[app.auth]
const config = await client.discovery(
  new URL(app.issuer), app.client_id, { client_secret: app.client_secret, ...app.metadata }, auth(app.client_secret),
  { execute: [client.allowInsecureRequests] }, // the test has no certificate
)
const server = config.serverMetadata()
assert.equal(server.issuer, app.issuer)
assert.ok(server.supportsPKCE())
assert.equal(server.authorization_response_iss_parameter_supported, true)

// Sign in: PKCE, state and nonce. The library checks iss too, because metadata promises it.
async function signIn(more = {}) {
  const pkceCodeVerifier = client.randomPKCECodeVerifier()
  const expectedState = client.randomState()
  const expectedNonce = client.randomNonce()
  const parameters = {
    redirect_uri: app.redirect_uri, scope: 'openid profile email', state: expectedState, nonce: expectedNonce,
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier), code_challenge_method: 'S256', ...more,
  }
  if (app.response_mode) parameters.response_mode = app.response_mode
  const arrived = await visit(client.buildAuthorizationUrl(config, parameters))
  return client.authorizationCodeGrant(config, arrived, { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: true, maxAge: 3600 })
}

const tokens = await signIn({ max_age: '3600' })
const claims = tokens.claims()
assert.equal(claims.iss, app.issuer)
assert.equal(claims.aud, app.client_id)
assert.equal(tokens.token_type, 'bearer')
assert.ok(tokens.expiresIn() > 0)

const info = await client.fetchUserInfo(config, tokens.access_token, claims.sub)
assert.equal(info.email, 'alice@example.com')
assert.equal(info.email_verified, true)
assert.equal(info.name, 'The full name of alice')
await assert.rejects(client.fetchUserInfo(config, tokens.access_token, 'somebody-else'))

const renewed = await client.refreshTokenGrant(config, tokens.refresh_token)
assert.notEqual(renewed.access_token, tokens.access_token)
assert.notEqual(renewed.refresh_token, tokens.refresh_token)
assert.equal(renewed.claims().sub, claims.sub)
assert.equal(renewed.claims().auth_time, claims.auth_time)

// Public clients may not introspect: RFC 7662 section 2.1.
if (app.auth !== 'none') {
  const told = await client.tokenIntrospection(config, renewed.access_token)
  assert.equal(told.active, true)
  assert.equal(told.sub, claims.sub)
  assert.equal(told.client_id, app.client_id)
}

await client.tokenRevocation(config, renewed.refresh_token)
if (app.auth !== 'none') {
  assert.equal((await client.tokenIntrospection(config, renewed.access_token)).active, false)
}
const refused = await client.refreshTokenGrant(config, renewed.refresh_token).then(() => null, (error) => error)
assert.equal(refused?.error, 'invalid_grant')

// Sign out, by a link. Afterwards nobody is signed in at this browser.
const state = client.randomState()
const left = await visit(client.buildEndSessionUrl(config, {
  id_token_hint: tokens.id_token, post_logout_redirect_uri: app.post_logout_redirect_uri, state,
}))
assert.equal(left.href, `${app.post_logout_redirect_uri}?state=${state}`)
const gone = await signIn({ prompt: 'none' }).then(() => null, (error) => error)
assert.equal(gone?.error, 'login_required')

console.log(JSON.stringify({ done: claims.sub }))
process.exit(0)
