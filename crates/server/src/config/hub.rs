//! From the settings to the bounds and policies of a hub.

use antiphon_hub::config::{HubConfig, TagRule};

use crate::config::schema::Config;

impl Config {
    /// The hub's part of the configuration. The name of the node is what `server.name` says, or empty.
    pub(crate) fn hub(&self) -> HubConfig {
        let mut hub = HubConfig::default();
        if let Some(name) = &self.server.name {
            hub.node = name.as_str().into();
        }
        if let Some(most) = self.server.max_connections {
            hub.max_connections = most;
        }
        hub.reconnect_spread = self.server.reconnect_spread;
        hub.heartbeat_interval = self.websocket.heartbeat_interval;
        hub.max_outbox_bytes = self.outbox.max_bytes;
        hub.max_outbox_messages = self.outbox.max_messages;
        hub.overflow = self.outbox.overflow;
        hub.memory_budget = self.limits.memory_budget.bytes();
        hub.max_connections_per_user = self.limits.connections_per_user;
        hub.max_tags_per_connection = self.limits.tags_per_connection;
        hub.max_name_length = self.limits.tag_length;
        hub.message_rate = self.limits.message_rate;
        hub.message_burst = self.limits.message_burst;
        hub.max_inbox = self.limits.inbox;
        hub.max_handlers = self.limits.handlers;
        hub.handler_timeout = self.limits.handler_timeout;
        hub.authentication_timeout = self.limits.authentication_timeout;
        hub.notice_interval = self.limits.notice_interval;
        hub.login = self.login.policy;
        hub.tag_rules = self
            .tags
            .iter()
            .map(|rule| {
                let mut made = TagRule::new(rule.pattern.as_str());
                made.overflow = rule.overflow;
                made.presence = rule.presence;
                made.notices = rule.notices;
                made.publish = rule.publish;
                made
            })
            .collect();
        hub
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_hub_but_for_the_memory() {
        let mut hub = Config::default().hub();
        hub.memory_budget = HubConfig::default().memory_budget;
        assert_eq!(format!("{hub:?}"), format!("{:?}", HubConfig::default()));
    }

    #[test]
    fn rules_for_tags_reach_the_hub() {
        let config: Config =
            toml::from_str("[[tags]]\npattern = \"a\"\nnotices = true\noverflow = \"drop\"")
                .unwrap();
        let rule = &config.hub().tag_rules[0];
        assert!(&*rule.pattern == "a" && rule.notices && rule.presence && rule.overflow.is_some());
    }
}
