//! One sample of everything that operators and replicas say to each other, and of a certificate that was
//! carried from an earlier configuration.

use bts_core::consensus::certificate::{Certificate, VoteKind};
use bts_core::crypto::batch::PathStep;
use bts_core::crypto::hash::Digest;
use bts_core::message::{AdminReply, AdminRequest, Standing};
use serde_bytes::ByteBuf;

use crate::samples::{Named, Samples};

impl Samples {
    pub(crate) fn admin_requests(&self) -> Vec<Named<AdminRequest>> {
        let configuration = Digest([3; 32]);
        let purpose = Digest([4; 32]);
        let part = AdminRequest::Part {
            skip: 300,
            records: vec![ByteBuf::from([1, 2, 3]), ByteBuf::new()],
        };
        let stop = AdminRequest::Stop {
            configuration,
            purpose,
        };
        let begin = AdminRequest::Begin {
            cluster: "number = 1".into(),
        };
        vec![
            ("admin.standing", AdminRequest::Standing),
            ("admin.stop", stop),
            ("admin.seal", AdminRequest::Seal),
            ("admin.records", AdminRequest::Records { skip: 70_000 }),
            ("admin.begin", begin),
            ("admin.part", part),
            ("admin.finish", AdminRequest::Finish),
        ]
    }

    pub(crate) fn admin_replies(&self) -> Vec<Named<AdminReply>> {
        let standing = Standing {
            configuration: Digest([3; 32]),
            number: 2,
            stopped: Some(Digest([4; 32])),
        };
        let sealed = AdminReply::Sealed {
            seal: self.entry().signed().clone(),
            records: 7,
        };
        let records = AdminReply::Records(vec![ByteBuf::from([9])]);
        vec![
            ("admin.stands", AdminReply::Standing(standing)),
            ("admin.sealed", sealed),
            ("admin.page", records),
            ("admin.taken", AdminReply::Taken(301)),
            ("admin.begun", AdminReply::Begun),
            ("admin.refused", AdminReply::Refused("no".into())),
        ]
    }

    pub(crate) fn carried(&self) -> Certificate {
        let step = |left| PathStep {
            left,
            sibling: Digest([5; 32]),
        };
        Certificate {
            kind: VoteKind::Commit,
            payload: self.first_vote().payload,
            votes: Vec::new(),
            carried: Some([step(true), step(false)].into()),
        }
    }
}
