use ::redis::{Cmd, FromRedisValue, ToRedisArgs, cmd};

use super::{Redis, RedisError};

/// A Lua script that the server runs as one step: nobody else's command comes between its own.
///
/// It is called by its hash, and sent whole only to a server that does not know it: at first, and after it was
/// restarted or told to forget (`SCRIPT FLUSH`).
#[derive(Clone, Debug)]
pub struct Script {
    source: &'static str,
    hash: Box<str>,
}

impl Script {
    /// The script with this source.
    pub fn new(source: &'static str) -> Self {
        Self { source, hash: ::redis::Script::new(source).get_hash().into() }
    }

    fn call(&self, name: &'static str, script: &str, keys: impl ToRedisArgs, arguments: impl ToRedisArgs) -> Cmd {
        let mut command = cmd(name);
        command.arg(script).arg(keys.num_of_args()).arg(keys).arg(arguments);
        command
    }
}

impl Redis {
    /// Runs `script`. In a cluster all `keys` have to be in one slot.
    pub async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: impl ToRedisArgs + Clone,
        arguments: impl ToRedisArgs + Clone,
    ) -> Result<T, RedisError> {
        match self.query(&script.call("EVALSHA", &script.hash, keys.clone(), arguments.clone())).await {
            // EVAL makes the server remember it as well.
            Err(error) if error.is_no_script() => {
                self.query(&script.call("EVAL", script.source, keys, arguments)).await
            }
            outcome => outcome,
        }
    }
}
