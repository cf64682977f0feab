import { expect } from 'chai'
import { ASTRAY_MS, createAstray, FORGOTTEN_MS } from '../../../../agent/iscsi/astray.js'
import type { Astray } from '../../../../agent/iscsi/astray.js'

describe('a session that was given up', () => {
  let nowMs = 0
  let astray: Astray
  const asked = (sid = '1', state = 'FREE'): boolean => astray.asked({ sid, state })
  /** Asked for again every two seconds, for so long. */
  const askFor = (ms: number): readonly boolean[] => Array.from({ length: ms / 2000 }, () => {
    nowMs += 2000
    return asked()
  })
  beforeEach(() => {
    nowMs = 1_000_000
    astray = createAstray({ monoMs: () => nowMs })
  })

  it('is left to iscsid, which logs in again by itself', () => {
    expect([asked(), ...askFor(ASTRAY_MS - 2000)]).to.not.include(true)
  })

  it('does not come back when orders go on asking for it', () => {
    asked()
    expect(askFor(ASTRAY_MS).at(-1)).to.equal(true)
  })

  it('is another case when it was back meanwhile, or may have been', () => {
    asked()
    askFor(ASTRAY_MS - 2000)
    asked('1', 'LOGGED_IN')
    expect(askFor(ASTRAY_MS), 'it was seen').to.not.include(true)
    nowMs += FORGOTTEN_MS + 1
    expect(askFor(ASTRAY_MS), 'nobody looked').to.not.include(true)
  })

  it('is not told by what is asked of others, nor while the kernel still waits for it', () => {
    asked()
    nowMs += ASTRAY_MS
    expect(asked('2')).to.equal(false)
    expect(asked('1', 'FAILED')).to.equal(false)
    expect(asked()).to.equal(false)
  })
})
