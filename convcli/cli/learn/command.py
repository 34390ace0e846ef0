"""``convcli learn``: the command line of its three jobs.

A kernel by least squares (`kernel`), a net by gradients (`net`), or a look at what those gradients are
(`gradients`): each module loads once the command line makes sense.
"""

from convcli.cli.learn.request import Fit, Net, Request
from convcli.cli.shared.command import flags, takes_options
from convcli.common import UsageError
from convcli.learning.training import Settings

OF_KERNEL = {*flags(Fit), "--pad-mode"}
OF_GEOMETRY = {"--size", "--stride", "--padding", "--dilation"}
OF_NET = {*flags(Net), *flags(Settings)}
OF_FILES = {"[INPUT TARGET]...", "--target", "--axes", "--target-axes", "--as", "--header"}


@takes_options
def learn(request: Request, given: list[str]) -> None:
    """Learn kernels from examples.

    \b
    Three jobs:
      --size SIZE   the one kernel (and bias) that turns inputs into targets with
                    the least squared error: exact, and it says how sure it is
      --net NET     all weights of a net, by gradient descent; without targets
                    the net learns to give its input back (an autoencoder), with
                    --loss ce the folder of each input names its class
      --gradcheck   shows that the gradients of a convolution are convolutions

    \b
    Examples:
      convcli learn photo.png blurred.png --size 5x5 -o blur.yaml
      convcli learn photos --net autoencoder.yaml -o ae.safetensors
      convcli learn digits --net lenet.yaml --loss ce --patience 5
      convcli learn --gradcheck --input 6x7 --size 3x2 --stride 2 --padding 1
    """

    def refuse(job: str, foreign: set[str]) -> None:
        said = [flag.split()[0].strip("[") for flag in given if flag in foreign]
        if said:
            raise UsageError(f"{said[0]} belongs to another job than {job} (see `convcli learn --help`)")

    if request.gradcheck:
        refuse("--gradcheck", (OF_KERNEL | OF_NET | OF_FILES | {"--output"}) - {"--seed"})
        from convcli.cli.learn.gradients import show_gradients

        show_gradients(request)
    elif request.net.file is not None:
        refuse("--net", OF_KERNEL | OF_GEOMETRY | {"--input"})
        if not request.files:
            raise UsageError("nothing to learn from: name a file or a folder of inputs, again for more")
        from convcli.cli.learn.net import train_net

        train_net(request, request.net.file)
    elif request.size is not None:
        refuse("--size", OF_NET | {"--input"})
        from convcli.cli.learn.kernel import learn_kernel

        learn_kernel(request, request.size)
    else:
        raise UsageError(
            "what to learn: --size 3x3 (a kernel), --net NET.yaml (a net's weights), or --gradcheck"
        )
