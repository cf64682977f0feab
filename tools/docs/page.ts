/** The reference page of the API, made of the registry, the faults and the commands. Nothing of it is said here but how to read it. */
import type { Command } from 'commander'
import { PAGE_MAX, cursors } from '../../lib/api/lists.js'
import { apiMethods } from '../../lib/api/methods.js'
import { audienceOf } from '../../lib/api/roles.js'
import { MULTICALL_MAX, apiMethod, apiNames, fieldsOf, signaturesOf, systemMethods } from '../../lib/api/system.js'
import * as views from '../../lib/api/views.js'
import { faults } from '../../lib/faults.js'
import type { FaultName } from '../../lib/faults.js'
import { httpStatusOf } from '../../lib/rpc/dialect-json.js'
import type { Shape } from '../../lib/rpc/shape.js'
import { exitCodes } from '../cli/explain.js'
import { methodsOf } from '../cli/verb.js'
import { memberComments } from './comments.js'

interface AnyShape extends Shape<unknown> {
  readonly fields?: Readonly<Record<string, AnyShape>>
  readonly item?: AnyShape
  readonly optional?: true
}

const named: ReadonlyMap<unknown, string> = new Map(Object.entries(views).map(([name, shape]) => [shape, name]))
const isShape = (value: unknown): value is AnyShape => typeof value === 'object' && value !== null && 'parse' in value

/** `viewsSource`: the text of lib/api/views.ts, for what its fields mean. */
export function apiPage(program: Command, viewsSource: string): string {
  const means = memberComments(viewsSource)
  const commands = leaves(program)
  return `${[
    intro, '## Methods', ...apiNames.map((key) => methodPart(key, commands)), '## The system family', ...Object.entries(systemMethods).map(([name, { help }]) => `### ${name}\n\n${help}.\n\n${signatureLine(name)}`),
    '## Views', 'What methods give. `--json` prints exactly this. A view may get more fields in a later release; those that there are keep their names and meaning.',
    ...Object.entries(views).flatMap(([name, shape]) => (isShape(shape) ? [viewPart(name, shape, means)] : [])),
    '## Faults', faultTable(), '## The command', commandIntro, ...commands.map(commandPart),
  ].join('\n\n')}\n`
}

const intro = `# The API

<!-- Made by \`npm run docs\` from lib/api/, lib/faults.ts and tools/cli/: change those, not this page. -->

The manager serves every method on one port, over mutual TLS. Who calls is known by the certificate: its role (\`OU\`) says which methods are open,
its name (\`CN\`) which host an agent speaks for. \`admin\` may call what an \`operator\` may, \`operator\` what a \`viewer\` may; an \`agent\` only its own.

While there is a token or a user, a client may also come without certificate, and say in each request who it is: \`Authorization: Bearer TOKEN\`, or
\`Authorization: Basic …\` with a user's name and password. A request that says so is judged by that alone. Only a token can have the role \`hypervisor\`: it names
a host, attaches volumes to that one, detaches them from it, and reads what it needs for that. Whatever is wrong with a secret, the fault is \`not authenticated\`;
after 10 failures from one address, or 20 for one name, \`too many attempts\`, until one comes back (every 6 s and 15 s).

- **XML-RPC**: \`POST /RPC2\`, \`text/xml\`, one struct as the only parameter. A fault is \`{faultCode, faultString}\`.
- **JSON**: \`POST /api/v1/METHOD\`, \`application/json\`, the same struct as the body. A method that changes nothing can also be asked by
  \`GET /api/v1/METHOD?name=value\`, with texts and whole numbers. A fault is \`{fault, code, message, correction, logId}\` with the HTTP status below.

      curl --cacert ca.pem --cert cert.pem --key key.pem https://mgr1:8881/api/v1/vsky.volume.show?volume=vm1
      curl --cacert ca.pem -H @header https://mgr1:8881/api/v1/vsky.volume.list      # the file header: Authorization: Bearer vsky_…

- **Sizes** are bytes as decimal strings, since many clients' integers end at 2³¹. Integers are taken too. Times are epoch milliseconds.
- **What changes something** takes \`request\`, an id that the caller makes up. The same id again joins the first call or gives its result, so a caller who
  lost the answer simply asks again. A call waits 25 s for its work, then answers \`timed out\`: the work goes on, and the same call waits for it again.
  With \`wait: false\` the answer comes as soon as the work is accepted.
- **Lists** give at most \`limit\` rows (default and most ${PAGE_MAX}) in the order of a key. The next ones are those \`after\` the key of the last row; a page that is
  not full is the last. Keys: ${Object.keys(cursors).map((key) => `\`${apiMethods[key as keyof typeof cursors].name}\` ${keyOf(key)}`).join(', ')}; events and the audit log go by \`seq\`. Filters hold before rows are counted.
- **Bounds** on a request: 1 MiB (8 MiB of an agent), 64 levels, 1,000,000 values, names of 128 characters, 5 s for its head and 15 s for all of it,
  ${MULTICALL_MAX} calls in a multicall, 64 calls of one caller at once, 512 connections from one address.`

function keyOf(key: string): string {
  const after = apiMethod(key as keyof typeof apiMethods).params as AnyShape
  return (after.fields?.after?.describe ?? '').replace(/^.*behind this one: its /, '').replace('; may be left out', '')
}

const commandIntro = `\`vsky NOUN VERB\`. Everywhere: \`--json\` (the method's result as one line of JSON), \`--yes\`, \`--manager\`, \`--tls-dir\`, \`--token-file\`, \`--timeout\`.
Exit codes: 0 done, ${Object.entries(exitCodes).map(([name, code]) => `${code} ${name}`).join(', ')}. With \`--json\` a failure is \`{error, code, class, message, correction}\` on standard error.`

function methodPart(key: (typeof apiNames)[number], commands: readonly Leaf[]): string {
  const method = apiMethod(key)
  const fields = fieldsOf(method)
  const mine = commands.filter((each) => methodsOf(each.command).includes(key)).map((each) => `\`${each.path}\``)
  return [
    `### ${method.name}`, `${method.help}.`,
    [`Role: ${audienceOf(method)}.`, method.mutates ? 'Idempotent by its request id.' : '', `Gives ${typeOf(method.result as AnyShape)}.`, signatureLine(method.name), mine.length === 0 ? '' : `Command: ${mine.join(', ')}.`].filter((each) => each !== '').join(' '),
    ...(fields.length === 0 ? [] : [rows(['parameter', '', 'what'], fields.map(([name, field]) => [`\`${name}\``, field.optional === true ? 'optional' : '', field.describe.replace('; may be left out', '')]))]),
    ...(method.faults.length === 0 ? [] : [`Faults: ${method.faults.map((fault) => `${fault} (${faults[fault].code})`).join(', ')}.`]),
  ].join('\n\n')
}

function signatureLine(name: string): string {
  return `Signature: ${(signaturesOf(name) ?? []).map(([gives = '', ...takes]) => `\`${gives} (${takes.join(', ')})\``).join(' or ')}.`
}

function typeOf(shape: AnyShape): string {
  const name = named.get(shape)
  if (name !== undefined) return `[${name}](#${name.toLowerCase()})`
  if (shape.item) return `a list of ${typeOf(shape.item)}`
  if (shape.fields) return Object.keys(shape.fields).length === 0 ? 'an empty struct' : `a struct {${Object.entries(shape.fields).map(([member, each]) => `${member}: ${typeOf(each)}`).join(', ')}}`
  return shape.type === 'string' && shape.describe.startsWith('one of ') ? shape.describe.slice('one of '.length).split(', ').map((word) => `\`${word}\``).join(', ') : shape.describe.startsWith('a size in bytes') ? 'size' : shape.type
}

/** Fields that a view has from another one are explained there. */
function viewPart(name: string, shape: AnyShape, means: ReadonlyMap<string, string>): string {
  const owners = [name, ...[...new Set([...means.keys()].map((key) => key.split('.')[0] ?? ''))].filter((owner) => /^(?:legView|segmentView|volumeFields)$/.test(owner) && /^(?:legRow|segmentRow|volumeView|volumeSummary)$/.test(name))]
  const meaning = (field: string): string => owners.map((owner) => means.get(`${owner}.${field}`)).find((text) => text !== undefined) ?? ''
  return `### ${name}\n\n${rows(['field', 'type', 'meaning'], Object.entries(shape.fields ?? {}).map(([field, each]) => [`\`${field}\``, typeOf(each), meaning(field)]))}`
}

function faultTable(): string {
  return rows(['code', 'fault', 'class', 'HTTP', 'exit', 'what to do'], (Object.keys(faults) as FaultName[]).map((name) => [String(faults[name].code), name, faults[name].class, String(httpStatusOf(name)), String(exitCodes[faults[name].class]), faults[name].correction]))
}

interface Leaf { readonly path: string; readonly command: Command }

function leaves(command: Command, path = command.name()): readonly Leaf[] {
  const visible = command.createHelp().visibleCommands(command).filter((each) => each.name() !== 'help')
  return visible.length === 0 ? [{ path, command }] : visible.flatMap((each) => leaves(each, `${path} ${each.name()}`))
}

function commandPart({ path, command }: Leaf): string {
  const globals = new Set(command.parent?.name() === 'vsky' ? command.parent.options : command.parent?.parent?.options ?? [])
  const args = command.registeredArguments.map((each) => (each.required ? `<${each.name()}>` : `[${each.name()}]`))
  const options = command.options.filter((option) => !globals.has(option) && !option.hidden).map((option) => [`\`${option.flags}\``, `${option.description}${option.mandatory ? ' (needed)' : ''}`])
  return [`### \`${[path, ...args].join(' ')}\``, `${command.description()}.`, ...(options.length === 0 ? [] : [rows(['option', 'what'], options)])].join('\n\n')
}

function rows(titles: readonly string[], all: readonly (readonly string[])[]): string {
  return [titles, titles.map(() => '---'), ...all].map((cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|').replaceAll('<', '&lt;').replace(/`([^`]*)`/g, (code) => code.replaceAll('&lt;', '<'))).join(' | ')} |`).join('\n')
}
