import { mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { systemClock } from '../../../../lib/host/clock.js'
import { readIfThere, sweepTemporaries, writeDurably } from '../../../../lib/host/files.js'
import { createLog } from '../../../../lib/host/log.js'
import { systemRandom } from '../../../../lib/host/random.js'

describe('durable files', () => {
  let dir = ''
  beforeEach(async () => { dir = await mkdtemp(join(tmpdir(), 'vsky-files-')) })
  afterEach(async () => { await rm(dir, { recursive: true, force: true }) })

  it('are written whole with their mode, replace the old text, and leave nothing beside them', async () => {
    const path = join(dir, 'epoch')
    await writeFile(path, 'a longer old text')
    await writeDurably(path, '17', 0o600)
    expect(await readFile(path, 'utf8')).to.equal('17')
    expect((await stat(path)).mode & 0o777).to.equal(0o600)
    await writeDurably(path, '18', 0o666)
    expect((await stat(path)).mode & 0o777).to.equal(0o666)
    expect(await readdir(dir)).to.deep.equal(['epoch'])
  })

  it('survive many writers: one of the texts stands there', async () => {
    const path = join(dir, 'epoch')
    const texts = Array.from({ length: 20 }, (_, index) => String(index).repeat(1000))
    await Promise.all(texts.map((text) => writeDurably(path, text)))
    expect(texts).to.include(await readFile(path, 'utf8'))
    expect(await readdir(dir)).to.deep.equal(['epoch'])
  })

  it('leave the old text and no litter when they cannot be written', async () => {
    const thrown = await writeDurably(join(dir, 'no', 'where'), 'x').then(() => 'written', (reason: unknown) => String(reason))
    expect(thrown).to.match(/ENOENT/)
    expect(await writeDurably(dir, 'x').then(() => 'written', (reason: unknown) => String(reason))).to.match(/EISDIR|ENOTEMPTY|EEXIST/)
    expect(await readdir(dir)).to.deep.equal([])
  })

  it('that were begun by a process which died are swept away, and nothing else is', async () => {
    for (const name of ['epoch', 'epoch.0123456789ab.tmp', 'v.json.ffffffffffff.tmp', 'notes.tmp', 'epoch.0123456789ab.tmp.old']) await writeFile(join(dir, name), '')
    await sweepTemporaries(dir)
    expect((await readdir(dir)).sort()).to.deep.equal(['epoch', 'epoch.0123456789ab.tmp.old', 'notes.tmp'])
  })

  it('that are absent read as undefined, and unreadable ones as an error', async () => {
    expect(await readIfThere(join(dir, 'none'))).to.equal(undefined)
    expect(await readIfThere(dir).then(() => 'read', (reason: unknown) => String(reason))).to.match(/EISDIR/)
  })
})

describe('the log', () => {
  function logged(act: (log: ReturnType<typeof createLog>) => void): unknown[] {
    const lines: string[] = []
    act(createLog({ name: 'vsky-test', level: 'info', stream: { write: (line) => { lines.push(line) } } }))
    return lines.map((line) => JSON.parse(line) as unknown)
  }

  it('is one object a line, with the fields of its child', () => {
    const [line] = logged((log) => { log.child({ host: 's-1' }).warn('leg lost', { leg: 'd-7', servers: ['a'] }) })
    expect(line).to.include({ level: 'warn', name: 'vsky-test', host: 's-1', leg: 'd-7', msg: 'leg lost' })
    expect(line).to.have.property('time').that.matches(/^\d{4}-\d\d-\d\dT.*Z$/)
  })

  it('leaves out what is below its level', () => {
    expect(logged((log) => { log.debug('x'); log.info('y') })).to.have.length(1)
  })

  it('never shows a field that is named like a secret', () => {
    const lines = logged((log) => { log.child({ password: 'hunter2' }).info('x', { chapSecret: 'hunter2', key: 'hunter2', keys: 'shown' }) })
    expect(JSON.stringify(lines)).to.not.contain('hunter2')
    expect(lines[0]).to.include({ chapSecret: '***', keys: 'shown' })
  })
})

describe('the real clock', () => {
  it('sleeps about as long as it is told', async () => {
    const startedMs = systemClock.monoMs()
    await systemClock.sleep(20)
    expect(systemClock.monoMs() - startedMs).to.be.within(18, 1_000)
    expect(Math.abs(systemClock.nowMs() - Date.now())).to.be.lessThan(1_000)
  })

  it('wakes up with the reason of its signal, also when that came before', async () => {
    const controller = new AbortController()
    const sleeping = systemClock.sleep(60_000, controller.signal).catch((reason: unknown) => reason)
    const reason = new Error('enough')
    controller.abort(reason)
    expect(await sleeping).to.equal(reason)
    expect(await systemClock.sleep(60_000, controller.signal).catch((thrown: unknown) => thrown)).to.equal(reason)
  })
})

describe('real dice', () => {
  it('give as many hexadecimal bytes as were asked for, and numbers from 0 to 1', () => {
    expect(systemRandom.hex(5)).to.match(/^[0-9a-f]{10}$/)
    expect(systemRandom.hex(16)).not.to.equal(systemRandom.hex(16))
    for (let round = 0; round < 100; round++) expect(systemRandom.unit()).to.be.within(0, 0.9999999999999999)
  })
})
