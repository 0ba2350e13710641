//! The stack machine.

use std::rc::Rc;

use super::value::{Container, Global, Id, Value};

/// A fault: byte of the stream, what was expected, what was found.
#[derive(Debug)]
pub(super) struct Fault {
    pub at: usize,
    pub expected: String,
    pub found: String,
}

/// What a program leaves behind.
pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: Vec<Option<Value>>,
    arena: Vec<Container>,
}

type Step<T = ()> = Result<T, Fault>;

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: Vec::new(),
            arena: Vec::new(),
        }
    }

    /// Runs to the end; returns the value left.
    pub(super) fn run(&mut self) -> Step<Value> {
        loop {
            let opcode = self.byte()?;
            if opcode == b'.' {
                return self.pop();
            }
            self.step(opcode)?;
        }
    }

    /// The items of a tuple or list.
    pub(super) fn items(&self, id: Id) -> &[Value] {
        match self.arena.get(id) {
            Some(Container::Sequence(items)) => items,
            _ => &[],
        }
    }

    /// Class, arguments and state of an object.
    pub(super) fn object(&self, id: Id) -> Option<(Global, &[Value], &[Value])> {
        match self.arena.get(id) {
            Some(Container::Object {
                class,
                arguments,
                state,
            }) => Some((*class, arguments, state)),
            _ => None,
        }
    }

    pub(super) fn fault(&self, expected: impl ToString, found: impl ToString) -> Fault {
        Fault {
            at: self.at,
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    fn step(&mut self, opcode: u8) -> Step {
        match opcode {
            0x80 => self.skip(1),                                 // PROTO
            0x95 => self.skip(8),                                 // FRAME
            b'(' => self.mark(),                                  // MARK
            b'0' => self.pop().map(drop),                         // POP
            b'N' => self.push(Value::None),                       // NONE
            0x88 => self.push(Value::Bool(true)),                 // NEWTRUE
            0x89 => self.push(Value::Bool(false)),                // NEWFALSE
            b'K' | b'M' | b'J' | 0x8a => self.integer(opcode),    // BININT1, BININT2, BININT, LONG1
            b'G' => self.float(),                                 // BINFLOAT
            0x8c | b'X' | 0x8d => self.text(opcode), // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
            b'C' | b'B' | 0x8e | b'U' | b'T' => self.raw(opcode), // bytes, and the text of Python 2
            b')' => self.sequence(Vec::new()),       // EMPTY_TUPLE
            b']' => self.sequence(Vec::new()),       // EMPTY_LIST
            b't' | b'l' => self.pop_to_mark().and_then(|items| self.sequence(items)), // TUPLE, LIST
            0x85..=0x87 => self.short_tuple(usize::from(opcode - 0x84)),
            b'a' => self.append_one(),             // APPEND
            b'e' => self.append_many(),            // APPENDS
            0x94 => self.memoize(self.memo.len()), // MEMOIZE
            b'q' | b'r' => self.unsigned(opcode, b'q').and_then(|n| self.memoize(n)), // BINPUT, LONG_BINPUT
            b'h' | b'j' => self.unsigned(opcode, b'h').and_then(|n| self.recall(n)), // BINGET, LONG_BINGET
            b'c' => self.global_lines(),                                             // GLOBAL
            0x93 => self.global_stack(),                                             // STACK_GLOBAL
            b'R' => self.reduce(),                                                   // REDUCE
            b'b' => self.build(),                                                    // BUILD
            _ => Err(self.fault(
                "an opcode of a NumPy array of texts",
                format!("opcode 0x{opcode:02x}"),
            )),
        }
    }

    fn mark(&mut self) -> Step {
        self.marks.push(self.stack.len());
        Ok(())
    }

    fn byte(&mut self) -> Step<u8> {
        Ok(self.take(1)?[0])
    }

    fn take(&mut self, length: usize) -> Step<&'a [u8]> {
        let end = self
            .at
            .checked_add(length)
            .filter(|&e| e <= self.bytes.len());
        let end =
            end.ok_or_else(|| self.fault(format!("{length} more bytes"), "the end of the file"))?;
        let bytes = &self.bytes[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    fn skip(&mut self, length: usize) -> Step {
        self.take(length).map(drop)
    }

    /// A little-endian unsigned number of `length` bytes.
    fn number(&mut self, length: usize) -> Step<usize> {
        let value = self
            .take(length)?
            .iter()
            .rev()
            .fold(0_u64, |n, &b| n << 8 | u64::from(b));
        usize::try_from(value).map_err(|_| self.fault("a length", value))
    }

    /// One byte after `short`, four after any other opcode.
    fn unsigned(&mut self, opcode: u8, short: u8) -> Step<usize> {
        self.number(if opcode == short { 1 } else { 4 })
    }

    fn push(&mut self, value: Value) -> Step {
        self.stack.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Step<Value> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(self.fault("a value on the stack", "none"));
        }
        self.stack
            .pop()
            .ok_or_else(|| self.fault("a value on the stack", "none"))
    }

    fn pop_to_mark(&mut self) -> Step<Vec<Value>> {
        let mark = self.marks.pop().filter(|&m| m <= self.stack.len());
        let mark = mark.ok_or_else(|| self.fault("a mark on the stack", "none"))?;
        Ok(self.stack.split_off(mark))
    }

    fn integer(&mut self, opcode: u8) -> Step {
        let bytes = match opcode {
            b'K' => self.take(1)?,
            b'M' => self.take(2)?,
            b'J' => self.take(4)?,
            _ => {
                let length = usize::from(self.byte()?);
                if length > 8 {
                    return Err(
                        self.fault("an integer of at most 64 bits", format!("{length} bytes"))
                    );
                }
                self.take(length)?
            }
        };
        // BININT1 and BININT2 are unsigned, the others are two's complement.
        let signed = opcode == b'J' || opcode == 0x8a;
        let fill = if signed && bytes.last().is_some_and(|b| b & 0x80 != 0) {
            0xff
        } else {
            0
        };
        let mut wide = [fill; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(wide)))
    }

    fn float(&mut self) -> Step {
        let mut wide = [0; 8];
        wide.copy_from_slice(self.take(8)?);
        self.push(Value::Float(f64::from_be_bytes(wide)))
    }

    fn text(&mut self, opcode: u8) -> Step {
        let width = match opcode {
            0x8c => 1,
            b'X' => 4,
            _ => 8,
        };
        let length = self.number(width)?;
        let bytes = self.take(length)?;
        let text = std::str::from_utf8(bytes).map_err(|e| self.fault("UTF-8 text", e))?;
        self.push(Value::Text(Rc::from(text)))
    }

    fn raw(&mut self, opcode: u8) -> Step {
        let width = match opcode {
            b'C' | b'U' => 1,
            b'B' | b'T' => 4,
            _ => 8,
        };
        let length = self.number(width)?;
        let bytes = self.take(length)?;
        match (opcode, std::str::from_utf8(bytes)) {
            (b'U' | b'T', Ok(text)) => self.push(Value::Text(Rc::from(text))),
            _ => self.push(Value::Bytes(Rc::from(bytes))),
        }
    }

    fn sequence(&mut self, items: Vec<Value>) -> Step {
        self.arena.push(Container::Sequence(items));
        self.push(Value::Sequence(self.arena.len() - 1))
    }

    fn short_tuple(&mut self, length: usize) -> Step {
        let mut items: Vec<Value> = (0..length).map(|_| self.pop()).collect::<Step<_>>()?;
        items.reverse();
        self.sequence(items)
    }

    fn append_one(&mut self) -> Step {
        let item = self.pop()?;
        self.append(vec![item])
    }

    fn append_many(&mut self) -> Step {
        let items = self.pop_to_mark()?;
        self.append(items)
    }

    fn append(&mut self, added: Vec<Value>) -> Step {
        let Some(&Value::Sequence(id)) = self.stack.last() else {
            return Err(self.fault("a list", "another value"));
        };
        if let Some(Container::Sequence(items)) = self.arena.get_mut(id) {
            items.extend(added);
        }
        Ok(())
    }

    fn memoize(&mut self, slot: usize) -> Step {
        let value = self
            .stack
            .last()
            .cloned()
            .ok_or_else(|| self.fault("a value to remember", "none"))?;
        // A slot cannot be beyond the number of opcodes read so far, so that a hostile number allocates nothing.
        if slot > self.at {
            return Err(self.fault("a memo slot in sequence", slot));
        }
        if slot >= self.memo.len() {
            self.memo.resize(slot + 1, None);
        }
        self.memo[slot] = Some(value);
        Ok(())
    }

    fn recall(&mut self, slot: usize) -> Step {
        let value = self.memo.get(slot).cloned().flatten();
        let value =
            value.ok_or_else(|| self.fault("a remembered value", format!("empty slot {slot}")))?;
        self.push(value)
    }

    fn line(&mut self) -> Step<&'a str> {
        let rest = &self.bytes[self.at..];
        let length = rest
            .iter()
            .position(|&b| b == b'\n')
            .ok_or_else(|| self.fault("a line", "the end of the file"))?;
        self.at += length + 1;
        std::str::from_utf8(&rest[..length]).map_err(|e| self.fault("UTF-8 text", e))
    }

    fn global_lines(&mut self) -> Step {
        let (module, name) = (self.line()?, self.line()?);
        self.global(module, name)
    }

    fn global_stack(&mut self) -> Step {
        let (name, module) = (self.pop()?, self.pop()?);
        match (&module, &name) {
            (Value::Text(module), Value::Text(name)) => self.global(module, name),
            _ => Err(self.fault("the name of a function", "another value")),
        }
    }

    fn global(&mut self, module: &str, name: &str) -> Step {
        let global = Global::named(module, name).ok_or_else(|| {
            self.fault(
                "NumPy's array constructor",
                format!("a call of {module}.{name}"),
            )
        })?;
        self.push(Value::Global(global))
    }

    fn reduce(&mut self) -> Step {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let (Value::Sequence(id), Value::Global(class)) = (arguments, function) else {
            return Err(self.fault("a function and its arguments", "other values"));
        };
        let arguments = self.items(id).to_vec();
        if class == Global::Encode {
            return self.encode(&arguments);
        }
        self.arena.push(Container::Object {
            class,
            arguments,
            state: Vec::new(),
        });
        self.push(Value::Object(self.arena.len() - 1))
    }

    /// `_codecs.encode(text, 'latin1')`: bytes.
    fn encode(&mut self, arguments: &[Value]) -> Step {
        let Some(Value::Text(text)) = arguments.first() else {
            return Err(self.fault("text to encode", "another value"));
        };
        let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
        let bytes = bytes.ok_or_else(|| self.fault("latin-1 text", &**text))?;
        self.push(Value::Bytes(Rc::from(bytes)))
    }

    fn build(&mut self) -> Step {
        let state = self.pop()?;
        let (Value::Sequence(state), Some(&Value::Object(object))) = (state, self.stack.last())
        else {
            return Err(self.fault("an object and its state", "other values"));
        };
        let items = self.items(state).to_vec();
        if let Some(Container::Object { state, .. }) = self.arena.get_mut(object) {
            *state = items;
        }
        Ok(())
    }
}
