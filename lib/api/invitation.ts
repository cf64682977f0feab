/**
 * What a new host is handed: whom to ask, by which authority to know them, and the secret that lets it in once. One line of text, to be read
 * from a file or standard input; it is as secret as a password until it is used or has expired.
 */

export interface Invitation {
  /** https://host:port */
  readonly managers: readonly string[]
  /** The authority's certificate, PEM. */
  readonly ca: string
  readonly token: string
}

const HEAD = 'vsky-invitation-1:'
const LENGTH_MAX = 16_384
const MANAGERS_MAX = 16

export function writeInvitation({ managers, ca, token }: Invitation): string {
  const body = ca.replace(/-----[A-Z ]+-----|\s/g, '')
  return `${HEAD}${Buffer.from(JSON.stringify({ managers, ca: body, token })).toString('base64url')}`
}

/** Throws Error, with what is wrong and never with what was read. */
export function readInvitation(text: string): Invitation {
  const line = text.trim()
  if (!line.startsWith(HEAD)) throw new Error(`this is no invitation: it begins with ${HEAD} (vsky host invite makes one)`)
  if (line.length > LENGTH_MAX || !/^[A-Za-z0-9_-]+$/.test(line.slice(HEAD.length))) throw new Error('this invitation is damaged: copy it whole, as one line')
  try {
    const { managers, ca, token } = JSON.parse(Buffer.from(line.slice(HEAD.length), 'base64url').toString('utf8')) as Readonly<Record<string, unknown>>
    if (!Array.isArray(managers) || managers.length === 0 || managers.length > MANAGERS_MAX || !managers.every((each): each is string => typeof each === 'string' && isHttps(each))) throw new Error('its managers')
    if (typeof ca !== 'string' || !/^[A-Za-z0-9+/]{100,}={0,2}$/.test(ca) || typeof token !== 'string') throw new Error('its authority')
    return { managers, ca: `-----BEGIN CERTIFICATE-----\n${ca.match(/.{1,64}/g)?.join('\n') ?? ''}\n-----END CERTIFICATE-----\n`, token }
  } catch (thrown) {
    throw new Error('this invitation is damaged: copy it whole, as one line', { cause: thrown })
  }
}

function isHttps(text: string): boolean {
  return URL.canParse(text) && new URL(text).protocol === 'https:'
}
