/** A password from standard input: typed twice without being shown at a terminal, else its first line. Never from the command line, where others see it. */
import { createInterface } from 'node:readline/promises'
import { Writable } from 'node:stream'
import { UsageError } from './settings.js'

const MAX_BYTES = 4096

/** Throws UsageError for what can't be a password. */
export async function readPassword(): Promise<string> {
  const password = process.stdin.isTTY ? await typed() : firstLine(await piped())
  if ([...password].length < 12 || password.length > 256) throw new UsageError('a password has 12 to 256 characters')
  if (/[\p{Cc}\p{Cs}]/u.test(password)) throw new UsageError('a password has no control characters')
  return password
}

async function typed(): Promise<string> {
  const password = await unseen('Password: ')
  if (await unseen('Once more: ') !== password) throw new UsageError('the two are not the same: nothing was done')
  return password
}

async function unseen(question: string): Promise<string> {
  process.stderr.write(question)
  const nowhere = new Writable({ write(_chunk, _encoding, done) { done() } })
  const lines = createInterface({ input: process.stdin, output: nowhere, terminal: true, historySize: 0 })
  const stopped = new Promise<never>((_, reject) => { lines.once('SIGINT', () => { reject(new UsageError('nothing was done')) }) })
  try {
    return await Promise.race([lines.question(''), stopped])
  } finally {
    lines.close()
    process.stderr.write('\n')
  }
}

async function piped(): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes > MAX_BYTES) throw new UsageError('standard input is too long for a password')
  }
  return Buffer.concat(chunks).toString('utf8')
}

function firstLine(text: string): string {
  return /^[^\r\n]*/.exec(text)?.[0] ?? ''
}
