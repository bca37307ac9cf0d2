"""The two reductions of communication that FLAMeST prints, for a head of any size.

Source: Federated Multimodal Fusion for Action Recognition (FLAMeST; TMLR submission 5468), Eqs. 13
and 14.
"""

BLIP_PARAMETERS = 247_414_076
"""Parameters of BLIP as FLAMeST counts them, with the head untied."""

SLOW_PARAMETERS = 32_454_096
"""Parameters of Slow with 400 classes."""

RESNET18_PARAMETERS = 11_689_512
"""Parameters of the 2-D ResNet-18 of FLAMeST's knowledge distillation."""

PRINTED_HEAD_PARAMETERS = 1_573_889
"""Parameters of FLAMeST's multi-layer perceptron on 2816 features: those of a head with one output.
"""


def reductions(shared_parameters: int) -> dict[str, float]:
    """Return FLAMeST's two reductions for a head with so many shared parameters.

    Args:
        shared_parameters: Parameters that a client sends, as `shared_parameters` in a run's
            communication.json; `PRINTED_HEAD_PARAMETERS` gives the figures that the paper prints.

    Returns:
        "eq_13", the share saved against sending BLIP, Slow and the head; and "eq_14", against
        sending the ResNet-18 of knowledge distillation: negative where the head is larger.
    """
    whole = BLIP_PARAMETERS + SLOW_PARAMETERS + shared_parameters
    return {
        "eq_13": 1 - shared_parameters / whole,
        "eq_14": 1 - shared_parameters / RESNET18_PARAMETERS,
    }
