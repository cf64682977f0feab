/**
 * Plays a written conversation with the classic listener of a real manager (support/site.ts), over a real socket:
 *
 *     # a remark
 *     ! site heads=2 servers=3 disks=1    a new manager with these hosts: hd1, hd2, st1, st2, …; their disks are /dev/sdb, /dev/sdc, …
 *     ! silent st1 | back st1 | reboot st1 | advance 30 | copies end | refuse hd1 agent.volume.attach agent failed | allow hd1 … | hold hd1 … | release hd1 …
 *     > showLogicalVolume lvolid=1        a call; `ver` is 5 unless it says otherwise (`ver=none`: without)
 *     < {"lvolid":1, …}                   what comes back, as JSON; lists with one element a line; `fault 2 ENOENT` (the text's first word)
 *     & > attachLogicalVolume lvolid=1 …  a call whose answer comes later,
 *     & then                              and here it is waited for
 *     ? events 2                          the last two events of the manager, as `kind: text`
 *
 * With UPDATE_TRANSCRIPTS=1 the answers are written anew, to be read as a change.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { must } from '../../lib/assert.js'
import { createLog } from '../../lib/host/log.js'
import type { RpcServer } from '../../lib/rpc/server.js'
import { decodeResponse, double, encodeCall } from '../../lib/rpc/xmlrpc.js'
import type { XmlValue } from '../../lib/rpc/xmlrpc.js'
import { faultNameOf } from '../../lib/faults.js'
import { startClassicServer } from '../../manager/api/classic/door.js'
import { eventsAfter } from '../../manager/store/events.js'
import { Site } from './site.js'

/** Gives the conversation as it went; the file holds it as it should go. */
export async function play(text: string): Promise<string> {
  const player = new Player()
  const out: string[] = []
  try {
    for (const line of text.split('\n')) {
      if (/^(?:& )?< |^ {2}|^\] *$|^: /.test(line)) continue // what was answered then
      out.push(line)
      out.push(...await player.line(line).catch((thrown: unknown) => { throw new Error(`at ${JSON.stringify(line)}: ${String(thrown)}`, { cause: thrown }) }))
    }
  } finally {
    await player.end()
  }
  return out.join('\n')
}

export function transcript(path: URL): { readonly text: string; write(went: string): void } {
  return { text: readFileSync(path, 'utf8'), write(went) { if (process.env['UPDATE_TRANSCRIPTS'] === '1') writeFileSync(path, went) } }
}

class Player {
  #site: Site | undefined
  #server: RpcServer | undefined
  #later: Promise<string> | undefined

  async end(): Promise<void> {
    await this.#site?.settle()
    const closing = this.#server?.close()
    await this.#site?.stop()
    await closing
  }

  async line(line: string): Promise<readonly string[]> {
    const [mark = '', ...words] = line.split(' ')
    if (mark === '!') return this.#act(words)
    if (mark === '>') return [await this.#call(words.join(' '))]
    if (mark === '&' && words[0] === '>') {
      this.#later = this.#call(words.slice(1).join(' '))
      await new Promise((resolve) => { setImmediate(resolve) })
      await this.#underWay()
      return []
    }
    if (mark === '&' && words[0] === 'then') return [`& ${await must(this.#later, 'a call is under way')}`]
    if (mark === '?') return this.#events(Number(words[1]))
    if (mark === '' || mark.startsWith('#')) return []
    throw new Error('not a line of a transcript')
  }

  /** The call has reached the gate that holds it: a request stands open, which is all that can be seen from here. */
  async #underWay(): Promise<void> {
    const { store } = this.#there().cluster
    while (await store.read.get(`select 1 as one from requests where state = 'open'`) === undefined) await store.nextChange(60_000)
    await this.#there().settle()
  }

  #there(): Site {
    return must(this.#site, 'the transcript begins with ! site')
  }

  async #act([verb = '', name = '', ...rest]: readonly string[]): Promise<readonly string[]> {
    if (verb === 'site') {
      await this.end()
      const options = Object.fromEntries([name, ...rest].filter((each) => each !== '').map((each) => each.split('=')).map(([key = '', value = '']) => [key, Number(value)]))
      this.#site = await Site.start(options)
      this.#server = await startClassicServer(this.#site.cluster, { host: '127.0.0.1', port: 0 }, { stepGb: options.step ?? 10 }, createLog({ name: 'test', level: 'silent' }))
      return []
    }
    const site = this.#there()
    switch (verb) {
      case 'silent': await site.silence(name); break
      case 'back': await site.back(name); break
      case 'reboot': await site.back(name, { rebooted: true }); break
      case 'advance': await site.advance(Number(name) * 1000); break
      case 'copies': await site.endCopies(); break
      case 'refuse': {
        const [method = '', ...fault] = rest
        site.refusals.set(`${name} ${method}`, { fault: fault.join(' ') as 'agent failed', text: `refused by the stand-in: ${fault.join(' ')}` })
        break
      }
      case 'allow': site.refusals.delete(`${name} ${rest[0] ?? ''}`); break
      case 'hold': site.hold(name, rest[0] ?? ''); break
      case 'release': site.release(name, rest[0] ?? ''); break
      case 'sql': await site.cluster.store.change((tx) => tx.run([name, ...rest].join(' '))); break
      default: throw new Error(`not a deed: ${verb}`)
    }
    await site.settle()
    return []
  }

  async #events(count: number): Promise<readonly string[]> {
    const events = await eventsAfter(this.#there().cluster.store.read, 0, 100_000)
    return events.slice(-count).map(({ kind, name, text }) => `: ${kind}, ${name}: ${text}`)
  }

  async #call(text: string): Promise<string> {
    const space = `${text} `.indexOf(' ')
    const said = readMembers(text.slice(space + 1))
    const members = { ...said, ver: said.ver === 'none' ? undefined : said.ver ?? 5 }
    const xml = text.includes(' raw ') || text.includes(' bare') ? encodeCall(text.slice(0, space), text.includes(' bare') ? [] : [text.slice(space + 5)]) : encodeCall(text.slice(0, space), [members])
    const response = await fetch(`${must(this.#server, 'a site was started').url}/RPC2`, { method: 'POST', headers: { 'Content-Type': 'text/xml' }, body: xml })
    const body = await response.text()
    if (/<(?:nil|i8|ex:|double|dateTime|base64)/.test(body)) throw new Error(`a classic client can't read ${body}`)
    await this.#site?.settle()
    const answer = decodeResponse(body)
    if (answer.kind === 'fault') return `< fault ${answer.code} ${/^(?:E[A-Z]+|Internal Server Error)\b|^<type 'exceptions\.\w+'>|^<class '[\w.]+'>/.exec(answer.text)?.[0] ?? answer.text}${faultNameOf(answer.code) ? ' (a number of ours)' : ''}`
    return written(answer.value)
  }
}

function written(value: XmlValue): string {
  if (Array.isArray(value) && value.length > 0) return `< [\n${(value as readonly XmlValue[]).map((each) => `  ${JSON.stringify(each)}`).join(',\n')}\n]`
  if (typeof value === 'object' && value !== null && 'components' in value) return `< tree\n${tree(value as unknown as TreeNode, '  ')}`
  return `< ${JSON.stringify(value)}`
}

interface TreeNode {
  readonly components: readonly TreeNode[]
}

/** One node a line, deeper ones further in. */
function tree(node: TreeNode, indent: string): string {
  const { components, ...rest } = node
  // Which number a LUN gets depends on how far earlier ones have been taken away.
  return [`${indent}${JSON.stringify(rest).replace(/-lun-\d+/g, '-lun-N')}`, ...components.map((each) => tree(each, `${indent}  `))].join('\n')
}

/** `name=value`, value as JSON; `10.0` is a double, a word without quotes is text. */
function readMembers(text: string): Record<string, XmlValue | undefined> {
  const members: Record<string, XmlValue | undefined> = {}
  for (const [, name = '', value = ''] of text.matchAll(/(\w+)=("(?:[^"\\]|\\.)*"|\[[^\]]*\]|\{[^}]*\}|\S+)/g)) members[name] = readValue(value)
  return members
}

function readValue(value: string): XmlValue {
  if (/^-?\d+\.\d+$/.test(value)) return double(Number(value))
  if (/^-?\d+$|^["[{]|^(?:true|false)$/.test(value)) return JSON.parse(value) as XmlValue
  return value
}
