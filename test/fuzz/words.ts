/** Words that somebody might send who means no good, or who is careless. */
import type { Dice } from '../../tools/thrash/dice.js'

const names = [
  'v1', 'v2', 'v3', 'v4', 'new1', 'new2', 'st1', 'st2', 'hd1', 'st1:/dev/sdb', 'repair.grace', 'resync.rate', '', ' ', '.', '..', '-', '--force', 'a/b', '../../etc/passwd', '/dev/sdb', '/dev/../etc/shadow', 'a\nb', 'a\r\nX-Evil: 1',
  'a\tb', '%s%n%x', '%00', '%2e%2e%2f', '$(reboot)', '`id`', '; rm -rf /', '| cat', '&& true', '> /tmp/x', '"quoted"', '\'', '\\', 'a b', '*', '?', '~', '{a,b}', '!', 'vsky-1-s0', 'a--b', '0 100 linear 8:0 0', 'error', '@tag', 'vg/lv',
  '\u202egpj.exe', 'a\u0300', '\u{1f4a9}', 'é', 'ﬁ', 'ı', '\u200b', '\ufeff', '\u2028', 'Ａ', '__proto__', 'constructor', 'toString', 'hasOwnProperty', 'NaN', 'null', 'undefined', 'true', '0x10', '1e9', '\' or 1=1 --', '"; drop table volumes; --',
  '<b>', '&amp;', ']]>', '<!-- -->', 'iqn.2026-11.io.vsky:x', '127.0.0.1:1', 'LongestNameThatIsStillFineLongestNameThatIsStillFineLongestNam',
] as const
const numbers = [0, 1, -1, 2, 3, 7, 100, 1000, 1001, 512, 511, 1048576, 67108864, 2147483647, 2147483648, -2147483648, 4294967296, 9007199254740991, -9007199254740991, 1e21, 1e308, 0.5, -0.0001]
const sizes = ['0', '1', '512', '1048576', '1048577', '67108864', '134217728', '1099511627776', '70368744177664', '9223372036854775807', '9223372036854775808', '-1', '1e9', ' 1', '1 ', '٣', '0x100000', '1'.repeat(30)]

export type Value = null | boolean | number | string | readonly Value[] | { readonly [name: string]: Value }

export function anyText(dice: Dice): string {
  if (dice.chance(0.02)) return dice.pick(['x', '\u{1f4a9}', '/', '%']).repeat(dice.between(100, 5000))
  if (dice.chance(0.1)) return dice.pick(names) + dice.pick(names)
  if (dice.chance(0.1)) return dice.pick(sizes)
  return dice.pick(names)
}

export function anyNumber(dice: Dice): number {
  return dice.chance(0.3) ? dice.between(-5, 300) : dice.pick(numbers)
}

export function anyValue(dice: Dice, depth = 0): Value {
  const roll = dice.between(0, depth > 4 ? 5 : 8)
  if (roll <= 2) return anyText(dice)
  if (roll === 3) return anyNumber(dice)
  if (roll === 4) return dice.chance(0.5)
  if (roll === 5) return null
  if (roll === 6) return Array.from({ length: dice.between(0, 4) }, () => anyValue(dice, depth + 1))
  return Object.fromEntries(Array.from({ length: dice.between(0, 4) }, () => [anyText(dice).slice(0, 120), anyValue(dice, depth + 1)]))
}

export function anySize(dice: Dice): string {
  return dice.pick(sizes)
}
