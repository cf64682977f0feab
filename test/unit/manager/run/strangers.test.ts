import { expect } from 'chai'
import { createStrangers, strangerNote } from '../../../../manager/run/strangers.js'
import type { Stranger, Strangers, Tallied } from '../../../../manager/run/strangers.js'

const stranger = (words: Partial<Stranger> = {}): Stranger => ({ claimed: '', known: false, peer: '192.0.2.1', source: '192.0.2.1', door: 'xml-rpc', method: 'login', fault: 'not authenticated', why: 'no such name', logId: '', ...words })
const timesOf = (tallied: readonly Tallied[]): number => tallied.reduce((sum, each) => sum + (JSON.parse(strangerNote(each).params ?? '{}') as { readonly times: number }).times, 0)
const MINUTE = 60_000

describe('strangers, as the audit log tells of them', () => {
  let strangers: Strangers
  beforeEach(() => { strangers = createStrangers() })
  const come = (count: number, at: number, words: (each: number) => Partial<Stranger> = (each) => ({ source: `10.0.${each >> 8}.${each & 255}` })): void => { for (let each = 0; each < count; each += 1) strangers.count(stranger(words(each)), at) }

  it('grow it by no more than one entry in two minutes in the long run, and their number is whole', () => {
    const days = 3
    let [came, told, entries] = [0, 0, 0]
    for (let minute = 0; minute < days * 24 * 60; minute += 1) {
      come(12, minute * MINUTE, (each) => ({ source: `${minute} ${each}` }))
      came += 12
      const taken = strangers.take(minute * MINUTE)
      entries += taken.length
      told += timesOf(taken)
    }
    const last = strangers.take(days * 24 * 60 * MINUTE, true)
    expect(entries).to.be.within(days * 24 * 30, days * 24 * 30 + 100)
    expect([told + timesOf(last), last.length <= 2]).to.deep.equal([came, true])
  })

  it('are told one by one again after a quiet time', () => {
    for (let minute = 0; minute < 600; minute += 1) {
      come(20, minute * MINUTE)
      strangers.take(minute * MINUTE)
    }
    come(3, 601 * MINUTE)
    expect(strangers.take(602 * MINUTE), 'nothing is left for them').to.have.length.at.most(2)
    come(3, 1000 * MINUTE)
    expect(strangers.take(1000 * MINUTE).map(({ others }) => others)).to.deep.equal([0, 0, 0])
  })

  it('take no more memory, however many they are and whatever they say', () => {
    const before = process.memoryUsage().heapUsed
    come(20_000, 0, (each) => ({ source: `${each}`.repeat(1000), why: `${each}` }))
    expect(process.memoryUsage().heapUsed - before).to.be.below(64 * 1024 * 1024) // the sources alone were 90 MiB
    const taken = strangers.take(0)
    expect([taken.length, taken.at(-1)?.others, timesOf(taken)]).to.deep.equal([11, 1000, 20_000])
    expect(taken.every((each) => (strangerNote(each).params ?? '').length < 1000)).to.equal(true)
  })

  it('that could not be written are counted further, and told with those who came meanwhile', () => {
    come(12, 0)
    const taken = strangers.take(0)
    expect(taken).to.have.length(11)
    come(2, 1)
    strangers.giveBack(taken)
    expect([strangers.take(MINUTE - 1), timesOf(strangers.take(MINUTE))]).to.deep.equal([[], 14])
  })

  it('are all told at the end, though it is not yet time', () => {
    come(1, 0)
    expect(strangers.take(0)).to.have.length(1)
    come(5, 1)
    expect(strangers.take(1)).to.deep.equal([])
    expect(strangers.take(1, true)).to.have.length(5)
    expect(strangers.take(10 * MINUTE, true)).to.deep.equal([])
  })
})
